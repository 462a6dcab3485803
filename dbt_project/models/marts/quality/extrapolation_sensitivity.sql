with companies as (

    select * from {{ ref('int_companies') }}

),

daily_events as (

    select *
    from {{ ref('int_daily__events') }}
    where n > 0

),

extrapolations as (

    select unnest(array['count_over_rate', 'inverse_rate', 'count']) as extrapolation

),

weights as (

    select
        daily_events.api_key,
        daily_events.event_type,
        daily_events.consent_status,
        weights.extrapolation,
        weights.weight
    from daily_events
    cross join lateral (
        values
        ('count_over_rate', weight_sum_count_over_rate),
        ('inverse_rate', weight_sum_inverse_rate),
        ('count', weight_sum_count)
    ) as weights (extrapolation, weight)

),

sums as (

    select
        api_key,
        extrapolation,
        sum(weight) as volume,
        sum(weight) filter (where event_type = 'consent.asked') as asked,
        sum(weight) filter (where event_type = 'consent.given') as given,
        sum(weight) filter (where event_type = 'consent.given' and {{ is_choice() }}) as choices,
        sum(weight) filter (where event_type = 'consent.given' and {{ is_opt_in() }}) as opt_ins
    from weights
    group by 1, 2

)

select
    companies.api_key,
    companies.industry,
    companies.industry_group,
    companies.hq_country,
    extrapolations.extrapolation,
    extrapolations.extrapolation = '{{ chosen_extrapolation() }}' as is_chosen,
    sums.volume::double precision as volume,
    sums.asked::double precision as asked,
    sums.given::double precision as given,
    (coalesce(sums.given, 0) / sums.asked)::double precision as conversion,
    (coalesce(sums.opt_ins, 0) / sums.choices)::double precision as consent_rate,
    coalesce(sums.given > sums.asked, false) as above_one
from companies
cross join extrapolations
left join sums on companies.api_key = sums.api_key and extrapolations.extrapolation = sums.extrapolation
