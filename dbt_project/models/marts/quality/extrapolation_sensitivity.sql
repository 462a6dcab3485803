with companies as (

    select * from {{ ref('int_companies') }}

),

estimates as (

    select * from {{ ref('int_company_estimates') }}

)

select
    companies.api_key,
    companies.company_name,
    companies.industry,
    companies.industry_group,
    companies.hq_country,
    estimates.scope,
    estimates.metric,
    estimates.extrapolation,
    estimates.extrapolation = '{{ chosen_extrapolation() }}' as is_chosen,
    estimates.extrapolation = {{ recommended_extrapolation("estimates.weighting") }} as is_recommended,
    estimates.weighting,
    estimates.n,
    {{ estimate_columns("estimates") }},
    estimates.is_above_one
from estimates
inner join companies on estimates.api_key = companies.api_key
