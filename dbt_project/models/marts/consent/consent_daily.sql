with companies as (

    select * from {{ ref('int_companies') }}

),

daily_events as (

    select *
    from {{ ref('int_daily__events') }}
    where n > 0

),

sums as (

    select
        api_key,
        day,
        sum(n) as n_events,
        sum(n) filter (where event_type = 'consent.asked') as n_asked,
        sum(n) filter (where event_type = 'consent.given') as n_given,
        {{ estimate() }} as volume,
        {{ estimate("event_type = 'consent.asked'") }} as asked,
        {{ estimate("event_type = 'consent.given'") }} as given,
        {{ estimate("event_type = 'consent.given' and " ~ is_choice()) }} as choices,
        {{ estimate("event_type = 'consent.given' and " ~ is_opt_in()) }} as opt_ins
    from daily_events
    group by 1, 2

)

select
    companies.api_key,
    companies.industry,
    companies.industry_group,
    companies.hq_country,
    sums.day,
    sums.n_events::bigint as n_events,
    coalesce(sums.n_asked, 0)::bigint as n_asked,
    coalesce(sums.n_given, 0)::bigint as n_given,
    sums.volume::double precision as volume,
    sums.asked::double precision as asked,
    sums.given::double precision as given,
    sums.choices::double precision as choices,
    sums.opt_ins::double precision as opt_ins,
    (coalesce(sums.given, 0) / sums.asked)::double precision as conversion,
    (coalesce(sums.opt_ins, 0) / sums.choices)::double precision as consent_rate,
    coalesce(sums.given > sums.asked, false) as above_one
from sums
inner join companies on sums.api_key = companies.api_key
