{{ config(post_hook='{{ create_consent_rates() }}') }}

-- The hook names these, too.
-- depends_on: {{ ref('int_company_weighting') }}
-- depends_on: {{ ref('int_daily__events') }}
-- depends_on: {{ ref('int_daily__dimensions') }}

with companies as (

    select * from {{ ref('int_companies') }}

),

rates as (

    select *
    from {{ ref('int_company_estimates') }}
    where form <> 'total'

),

estimates as (

    {{ join_extrapolations("rates", ["api_key", "scope", "metric"]) | indent }}

)

select
    companies.api_key,
    companies.company_name,
    companies.industry,
    companies.industry_group,
    companies.hq_country,
    estimates.scope,
    estimates.metric as rate,
    estimates.n_numerator,
    estimates.n_denominator,
    estimates.n_numerator_sampled,
    estimates.n_denominator_sampled,
    estimates.numerator,
    estimates.denominator,
    {{ estimate_columns("estimates") }},
    {{ other_estimate_columns("estimates") }},
    estimates.is_above_one,
    coalesce(estimates.form = 'ratio' and estimates.estimate_inverse_rate > 1, false) as is_above_one_inverse_rate
from companies
inner join estimates on companies.api_key = estimates.api_key
