with loads as (

    select * from {{ ref('int_loads') }}

),

findings as (

    select * from {{ ref('stg_consent__findings') }}

),

-- int_events updates applied_load, so it must be built first.
-- depends_on: {{ ref('int_events') }}
applied_loads as (

    select * from {{ source('analytics_state', 'applied_load') }}

)

select
    loads.load_id,
    coalesce(findings.code, 'none') as code,
    loads.source,
    loads.path,
    loads.contract,
    loads.format,
    loads.sha256,
    loads.n_bytes,
    loads.state,
    loads.is_latest,
    loads.load_id in (select applied_loads.load_id from applied_loads) as is_in_events,
    loads.n_rows,
    loads.n_rejected,
    loads.n_warnings,
    loads.started_at,
    loads.finished_at,
    loads.error,
    loads.is_likely_truncated,
    findings.severity,
    findings.column_name,
    coalesce(findings.n_findings, 0) as n_findings,
    -- n_rows does not include rejected rows.
    coalesce(findings.n_findings, 0)::double precision
    / nullif(loads.n_rows + loads.n_rejected, 0) as share_of_rows
from loads
left join findings on loads.load_id = findings.load_id
