with companies as (

    select * from {{ ref('int_companies') }}

),

daily_events as (

    select *
    from {{ ref('int_daily__events') }}
    where n > 0

),

durations as (

    select *
    from {{ ref('int_consent_durations') }}
    where {{ is_choice() }} and {{ is_notice() }}

),

methods as (

    select 'embedded' as method

),

-- Few values repeat often, so that what follows is cheap. numeric keeps the sums of weights independent of their order.
counted as (

    select
        api_key,
        method,
        seconds,
        count(*) as n,
        count(*) filter (where is_near_event) as n_near_event,
        count(*) / sampling_rate::numeric as weight
    from durations
    group by api_key, method, seconds, sampling_rate

),

-- A first choice is made while the notice is open. What took longer is a later change of mind, and a token that is
-- updated before it was created has a clock that cannot be trusted.
first_choices as (

    select
        *,
        sum(weight) over (partition by api_key, method order by seconds asc) as weight_until,
        sum(weight) over (partition by api_key, method) as weight_of_all
    from counted
    where seconds between 0 and 1800

),

averages as (

    select
        api_key,
        method,
        sum(n) as n,
        (sum(seconds::numeric * weight) / sum(weight))::double precision as mean_seconds,
        {{ weighted_quantile('seconds', 0.5) }} as median_seconds,
        {{ weighted_quantile('seconds', 0.9) }} as p90_seconds
    from first_choices
    group by api_key, method

),

quality as (

    select
        api_key,
        method,
        sum(n) filter (where seconds > 1800) as n_over_30min,
        sum(n) filter (where seconds < 0) as n_reversed,
        (coalesce(sum(weight) filter (where seconds > 1800), 0) / sum(weight))::double precision as share_over_30min,
        (sum(n_near_event) / sum(n))::double precision as share_near_event
    from counted
    group by api_key, method

),

choices as (

    select
        api_key,
        sum(n) as n_choices
    from daily_events
    where event_type = 'consent.given' and {{ is_choice() }} and {{ is_notice() }}
    group by api_key

),

judged as (

    select
        companies.api_key,
        companies.industry,
        companies.industry_group,
        companies.hq_country,
        methods.method,
        coalesce(averages.n, 0) as n,
        coalesce(quality.n_over_30min, 0) as n_over_30min,
        coalesce(quality.n_reversed, 0) as n_reversed,
        averages.n::double precision / choices.n_choices as coverage,
        quality.share_over_30min,
        quality.share_near_event,
        averages.mean_seconds,
        averages.median_seconds,
        averages.p90_seconds,
        case
            when averages.n is null then 'no durations'
            when quality.share_near_event < 0.9 then 'token updated more than an hour from the event in over 10%'
        end as withheld_because
    from companies
    cross join methods
    left join averages on companies.api_key = averages.api_key and methods.method = averages.method
    left join quality on companies.api_key = quality.api_key and methods.method = quality.method
    left join choices on companies.api_key = choices.api_key

)

select
    api_key,
    industry,
    industry_group,
    hq_country,
    method,
    withheld_because is null as is_headline,
    withheld_because,
    n::bigint as n,
    n_over_30min::bigint as n_over_30min,
    n_reversed::bigint as n_reversed,
    coverage,
    share_over_30min,
    share_near_event,
    case when withheld_because is null then mean_seconds end as mean_seconds,
    case when withheld_because is null then median_seconds end as median_seconds,
    case when withheld_because is null then p90_seconds end as p90_seconds
from judged
