-- Distributions whose shares do not add up to 1, or that have shares without any event.
with shares as (

    select
        'consent_status_distribution' as mart,
        api_key,
        population as part,
        n,
        share
    from {{ ref('consent_status_distribution') }}
    union all
    select
        'event_breakdown' as mart,
        api_key,
        dimension as part,
        n,
        share
    from {{ ref('event_breakdown') }}

)

select
    mart,
    api_key,
    part,
    sum(n) as n,
    sum(share) as share
from shares
group by 1, 2, 3
having coalesce(abs(sum(share) - 1) > 1e-9, sum(n) > 0) or (sum(n) = 0 and count(share) > 0)
