with companies as (

    select * from {{ ref('int_companies') }}

),

rates as (

    select *
    from {{ ref('int_company_estimates') }}
    where form <> 'total'

),

estimates as (

    {{ beside_inverse_rate("rates", ["api_key", "scope", "metric"]) | indent }}

)

select
    companies.api_key,
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
    {{ inverse_rate_columns("estimates") }},
    estimates.above_one,
    coalesce(estimates.form = 'ratio' and estimates.estimate_inverse_rate > 1, false) as above_one_inverse_rate
from companies
inner join estimates on companies.api_key = estimates.api_key
