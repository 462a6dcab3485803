-- Companies that are missing from a mart. Primary keys rule out duplicates.
with companies as (

    select * from {{ ref('int_companies') }}

),

mart_keys as (

    select
        'company_consent_metrics' as mart,
        api_key
    from {{ ref('company_consent_metrics') }}
    union all
    select
        'company_performance' as mart,
        api_key
    from {{ ref('company_performance') }}
    union all
    select
        'time_to_consent' as mart,
        api_key
    from {{ ref('time_to_consent') }}
    union all
    select
        'consent_status_distribution' as mart,
        api_key
    from {{ ref('consent_status_distribution') }}
    union all
    select
        'event_breakdown' as mart,
        api_key
    from {{ ref('event_breakdown') }}
    union all
    select
        'extrapolation_sensitivity' as mart,
        api_key
    from {{ ref('extrapolation_sensitivity') }}

),

marts as (

    select
        unnest(array[
            'company_consent_metrics',
            'company_performance',
            'time_to_consent',
            'consent_status_distribution',
            'event_breakdown',
            'extrapolation_sensitivity'
        ]) as mart

)

select
    marts.mart,
    companies.api_key
from companies
cross join marts
left join mart_keys on marts.mart = mart_keys.mart and companies.api_key = mart_keys.api_key
where mart_keys.api_key is null
