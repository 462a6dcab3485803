with counts as (

    select * from {{ source('raw', 'finding_count') }}

),

-- A code has one column, one problem and one severity. Only the first findings of each are stored.
kept as (

    select
        load_id,
        code,
        min(severity) as severity,
        min(column_name) as column_name
    from {{ source('raw', 'finding') }}
    group by load_id, code

)

select
    counts.load_id,
    counts.code,
    kept.severity,
    kept.column_name,
    counts.n as n_findings
from counts
left join kept on counts.load_id = kept.load_id and counts.code = kept.code
