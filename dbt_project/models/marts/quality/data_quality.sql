with loads as (

    select * from {{ ref('stg_consent__loads') }}

),

findings as (

    select * from {{ ref('stg_consent__findings') }}

),

-- As int_events has left them.
-- depends_on: {{ ref('int_events') }}
applied_loads as (

    select * from {{ source('analytics_state', 'applied_load') }}

),

-- Several files of the same round number of rows are the first part of something longer.
suspected as (

    select
        source,
        n_rows
    from loads
    where state = 'published' and contract = 'event' and n_rows > 0 and n_rows % 100 = 0
    group by 1, 2
    having count(*) > 1

)

select
    loads.load_id,
    coalesce(findings.code, 'none') as code,
    loads.source,
    loads.path,
    loads.contract,
    loads.format,
    loads.state,
    loads.load_id = max(loads.load_id) over (partition by loads.file_id) as is_latest,
    loads.load_id in (select applied_loads.load_id from applied_loads) as is_in_events,
    loads.n_rows,
    loads.n_rejected,
    loads.n_warnings,
    loads.started_at,
    loads.finished_at,
    loads.error,
    coalesce(loads.state = 'published' and suspected.n_rows is not null, false) as looks_truncated,
    findings.severity,
    findings.column_name,
    coalesce(findings.n_findings, 0) as n_findings,
    -- A row that was rejected is not among those that were loaded.
    coalesce(findings.n_findings, 0)::double precision
    / nullif(loads.n_rows + loads.n_rejected, 0) as share_of_rows
from loads
left join findings on loads.load_id = findings.load_id
left join suspected on loads.source = suspected.source and loads.n_rows = suspected.n_rows
