with companies as (

    select * from {{ ref('int_companies') }}

),

daily_events as (

    select *
    from {{ ref('int_daily__events') }}
    where n > 0

),

rates as (

    select *
    from {{ ref('company_consent_rates') }}
    where scope = 'all'

),

sums as (

    select
        api_key,
        sum(n) filter (where event_type = 'consent.asked') as n_asked,
        sum(n) filter (where event_type = 'consent.given') as n_given,
        {{ estimate("event_type = 'consent.asked'") }} as asked,
        {{ estimate("event_type = 'consent.given'") }} as given,
        {{ estimate("event_type = 'consent.given' and " ~ is_choice()) }} as choices,
        {{ estimate("event_type = 'consent.given' and " ~ is_opt_in()) }} as opt_ins,
        {{ estimate("event_type = 'consent.given' and " ~ is_opt_out()) }} as opt_outs,
        {{ estimate("event_type = 'consent.given' and action_class = 'absent'") }} as given_without_action
    from daily_events
    group by 1

),

-- One row per company of what company_consent_rates says about all of its events.
company_rates as (

    select
        api_key,
        max(estimate) filter (where rate = 'conversion') as conversion,
        max(estimate) filter (where rate = 'choice_rate') as choice_rate,
        max(estimate) filter (where rate = 'consent_rate') as consent_rate,
        max(estimate) filter (where rate = 'opt_out_rate') as opt_out_rate,
        max(estimate) filter (where rate = 'opt_in_rate') as opt_in_rate,
        max(estimate) filter (where rate = 'no_choice_rate') as no_choice_rate
    from rates
    group by 1

)

select
    companies.api_key,
    companies.industry,
    companies.industry_group,
    companies.hq_country,
    '{{ chosen_extrapolation() }}' as extrapolation,
    coalesce(sums.n_asked, 0)::bigint as n_asked,
    coalesce(sums.n_given, 0)::bigint as n_given,
    sums.asked::double precision as asked,
    sums.given::double precision as given,
    sums.choices::double precision as choices,
    sums.opt_ins::double precision as opt_ins,
    sums.opt_outs::double precision as opt_outs,
    company_rates.conversion,
    company_rates.choice_rate,
    company_rates.consent_rate,
    company_rates.opt_out_rate,
    company_rates.opt_in_rate,
    company_rates.no_choice_rate,
    (coalesce(sums.given_without_action, 0) / sums.given)::double precision as share_action_absent,
    coalesce(company_rates.conversion > 1, false) as above_one,
    sums.given is not null and sums.choices is null as notice_without_choices
from companies
inner join company_rates on companies.api_key = company_rates.api_key
left join sums on companies.api_key = sums.api_key
