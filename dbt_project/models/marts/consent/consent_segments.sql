with companies as (

    select * from {{ ref('int_companies') }}

),

estimates as (

    select * from {{ ref('int_segment_estimates') }}

),

country_names as (

    select * from {{ ref('int_country_names') }}

)

select
    companies.api_key,
    companies.company_name,
    companies.industry,
    companies.industry_group,
    companies.hq_country,
    estimates.scope,
    estimates.dimension,
    estimates.value,
    coalesce(country_names.country_name, estimates.value) as value_name,
    estimates.metric as rate,
    estimates.n_numerator,
    estimates.n_denominator,
    estimates.n_effective,
    estimates.n,
    estimates.n_sampled,
    estimates.numerator,
    estimates.denominator,
    estimates.extrapolation as recommended_extrapolation,
    estimates.estimate as recommended_estimate,
    estimates.sampling_lower as recommended_sampling_lower,
    estimates.sampling_upper as recommended_sampling_upper,
    estimates.process_lower as recommended_process_lower,
    estimates.process_upper as recommended_process_upper,
    estimates.null_because as recommended_null_because,
    estimates.is_low_sample,
    estimates.is_census,
    estimates.is_conservative,
    estimates.is_above_one
from companies
inner join estimates on companies.api_key = estimates.api_key
left join country_names on estimates.dimension = 'country' and estimates.value = country_names.country_code
