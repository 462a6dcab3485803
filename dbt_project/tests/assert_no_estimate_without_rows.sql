-- Totals without any row that are not null, and totals with rows that are null.
with totals as (

    select
        'company_performance' as mart,
        api_key,
        n_events as n,
        volume as estimate
    from {{ ref('company_performance') }}
    union all
    select
        'event_breakdown' as mart,
        api_key,
        n,
        estimate
    from {{ ref('event_breakdown') }}
    union all
    select
        'consent_status_distribution' as mart,
        api_key,
        n,
        estimate
    from {{ ref('consent_status_distribution') }}
    union all
    select
        'company_consent_metrics' as mart,
        api_key,
        n_asked as n,
        asked as estimate
    from {{ ref('company_consent_metrics') }}
    union all
    select
        'company_consent_metrics' as mart,
        api_key,
        n_given as n,
        given as estimate
    from {{ ref('company_consent_metrics') }}

)

select *
from totals
where (n = 0) <> (estimate is null)
