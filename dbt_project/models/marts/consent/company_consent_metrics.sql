with companies as (

    select * from {{ ref('int_companies') }}

),

company_weighting as (

    select * from {{ ref('int_company_weighting') }}

),

daily_events as (

    select * from {{ ref('int_daily__events') }}

),

published as (

    select *
    from {{ ref('int_company_estimates') }}
    where scope = 'all'

),

estimates as (

    {{ beside_inverse_rate("published", ["api_key", "metric"]) | indent }}

),

conversions as (

    select *
    from estimates
    where metric = 'conversion'

),

-- One row per company of what int_company_estimates has in one row for each metric.
company_estimates as (

    select
        api_key,
        max(n_numerator) filter (where metric = 'asked') as n_asked,
        max(n_numerator) filter (where metric = 'given') as n_given,
        max(estimate) filter (where metric = 'asked') as asked,
        max(estimate) filter (where metric = 'given') as given,
        max(estimate) filter (where metric = 'choices') as choices,
        max(estimate) filter (where metric = 'opt_ins') as opt_ins,
        max(estimate) filter (where metric = 'opt_outs') as opt_outs,
        max(estimate) filter (where metric = 'choice_rate') as choice_rate,
        max(estimate) filter (where metric = 'consent_rate') as consent_rate,
        max(estimate) filter (where metric = 'opt_out_rate') as opt_out_rate,
        max(estimate) filter (where metric = 'opt_in_rate') as opt_in_rate,
        max(estimate) filter (where metric = 'no_choice_rate') as no_choice_rate
    from estimates
    group by api_key

),

actions as (

    select
        api_key,
        (
            coalesce({{ estimate("action_class = 'absent'") }}, 0) / {{ estimate() }}
        )::double precision as share_action_absent
    from daily_events
    where event_type = 'consent.given' and n > 0
    group by api_key

)

select
    companies.api_key,
    companies.industry,
    companies.industry_group,
    companies.hq_country,
    conversions.extrapolation,
    company_weighting.weighting,
    company_weighting.n_evidence as n_weighting_evidence,
    company_weighting.share_count_inverse_of_rate,
    company_estimates.n_asked,
    company_estimates.n_given,
    company_estimates.asked,
    company_estimates.given,
    company_estimates.choices,
    company_estimates.opt_ins,
    company_estimates.opt_outs,
    {{ metric_columns("conversions", "conversion") }},
    company_estimates.choice_rate,
    company_estimates.consent_rate,
    company_estimates.opt_out_rate,
    company_estimates.opt_in_rate,
    company_estimates.no_choice_rate,
    actions.share_action_absent,
    conversions.above_one,
    coalesce(conversions.estimate_inverse_rate > 1, false) as above_one_inverse_rate,
    company_estimates.given is not null and company_estimates.choices is null as notice_without_choices
from companies
inner join company_weighting on companies.api_key = company_weighting.api_key
inner join conversions on companies.api_key = conversions.api_key
inner join company_estimates on companies.api_key = company_estimates.api_key
left join actions on companies.api_key = actions.api_key
