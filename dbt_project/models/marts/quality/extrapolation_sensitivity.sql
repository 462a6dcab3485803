with companies as (

    select * from {{ ref('int_companies') }}

),

estimates as (

    select * from {{ ref('int_company_estimates') }}

)

select
    companies.api_key,
    companies.industry,
    companies.industry_group,
    companies.hq_country,
    estimates.scope,
    estimates.metric,
    estimates.extrapolation,
    estimates.extrapolation = '{{ chosen_extrapolation() }}' as is_chosen,
    estimates.weighting,
    estimates.n,
    {{ estimate_columns("estimates") }},
    estimates.above_one
from estimates
inner join companies on estimates.api_key = companies.api_key
