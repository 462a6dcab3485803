{% set totals = ["asked", "given", "choices", "opt_ins", "opt_outs", "preferences_opened"] %}
{% set rates = [
    "conversion", "choice_rate", "consent_rate", "opt_out_rate", "opt_in_rate", "no_choice_rate", "preferences_rate"
] %}
{% set shares = ["full_opt_in_share", "partial_opt_in_share", "opt_out_share", "empty_share"] %}

with companies as (

    select * from {{ ref('int_companies') }}

),

company_weighting as (

    select * from {{ ref('int_company_weighting') }}

),

daily_events as (

    select * from {{ ref('int_daily__events') }}

),

rates_and_totals as (

    select *
    from {{ ref('int_company_estimates') }}
    where metric <> 'volume'

),

estimates as (

    {{ join_extrapolations("rates_and_totals", ["api_key", "scope", "metric"]) | indent }}

),

-- The brief's numbers: over all events, with intervals for conversion only.
all_events as (

    select *
    from estimates
    where scope = 'all'

),

conversions as (

    select *
    from all_events
    where metric = 'conversion'

),

-- Pivots int_company_estimates, which has a row for each metric, to one row per company.
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
        max(estimate) filter (where metric = 'preferences_opened') as preferences_opened,
        max(estimate) filter (where metric = 'choice_rate') as choice_rate,
        max(estimate) filter (where metric = 'consent_rate') as consent_rate,
        max(estimate) filter (where metric = 'opt_out_rate') as opt_out_rate,
        max(estimate) filter (where metric = 'opt_in_rate') as opt_in_rate,
        max(estimate) filter (where metric = 'no_choice_rate') as no_choice_rate,
        max(estimate) filter (where metric = 'preferences_rate') as preferences_rate
    from all_events
    group by api_key

),

-- The recommended estimates: of the company's own notice, each with its interval.
recommended as (

    select
        api_key,
        {%- for metric in totals + shares + rates %}
            max(recommended_estimate) filter (where metric = '{{ metric }}') as {{ metric }},
        {%- endfor %}
        {%- for metric in rates %}
            {%- for column in ["sampling_lower", "sampling_upper", "process_lower", "process_upper", "null_because"] %}
                max(recommended_{{ column }}) filter (where metric = '{{ metric }}') as {{ metric }}_{{ column }},
            {%- endfor %}
        {%- endfor %}
        max(recommended_extrapolation) as recommended_extrapolation
    from estimates
    where scope = 'notice'
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
    companies.company_name,
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
    company_estimates.preferences_opened,
    {{ metric_columns("conversions", "conversion") }},
    company_estimates.choice_rate,
    company_estimates.consent_rate,
    company_estimates.opt_out_rate,
    company_estimates.opt_in_rate,
    company_estimates.no_choice_rate,
    company_estimates.preferences_rate,
    'notice' as recommended_scope,
    recommended.recommended_extrapolation,
    {%- for metric in totals %}
        recommended.{{ metric }} as recommended_{{ metric }},
    {%- endfor %}
    {%- for metric in rates %}
        recommended.{{ metric }} as recommended_{{ metric }},
        {%- for column in ["sampling_lower", "sampling_upper", "process_lower", "process_upper", "null_because"] %}
            recommended.{{ metric }}_{{ column }} as recommended_{{ metric }}_{{ column }},
        {%- endfor %}
    {%- endfor %}
    {%- for metric in shares %}
        recommended.{{ metric }} as recommended_{{ metric }},
    {%- endfor %}
    actions.share_action_absent,
    conversions.is_above_one,
    coalesce(conversions.estimate_inverse_rate > 1, false) as is_above_one_inverse_rate,
    company_estimates.given is not null and company_estimates.choices is null as has_no_choices
from companies
inner join company_weighting on companies.api_key = company_weighting.api_key
inner join conversions on companies.api_key = conversions.api_key
inner join company_estimates on companies.api_key = company_estimates.api_key
inner join recommended on companies.api_key = recommended.api_key
left join actions on companies.api_key = actions.api_key
