with loads as (

    select * from {{ ref('stg_consent__loads') }}

),

published as (

    select
        load_id,
        source,
        n_rows + n_rejected as n_rows_in_file
    from loads
    where state = 'published' and contract = 'event'

),

-- Several files with the same round number of rows are probably each cut off at that number.
round_lengths as (

    select
        source,
        n_rows_in_file
    from published
    where n_rows_in_file > 0 and n_rows_in_file % 100 = 0
    group by 1, 2
    having count(*) > 1

),

truncated as (

    select published.load_id
    from published
    inner join round_lengths
        on published.source = round_lengths.source and published.n_rows_in_file = round_lengths.n_rows_in_file

)

select
    loads.load_id,
    loads.file_id,
    loads.source,
    loads.path,
    loads.contract,
    loads.format,
    loads.state,
    loads.sha256,
    loads.n_bytes,
    loads.n_rows,
    loads.n_rejected,
    loads.n_warnings,
    loads.started_at,
    loads.finished_at,
    loads.error,
    loads.load_id = max(loads.load_id) over (partition by loads.file_id) as is_latest,
    truncated.load_id is not null as is_likely_truncated
from loads
left join truncated on loads.load_id = truncated.load_id
