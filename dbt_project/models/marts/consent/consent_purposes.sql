with companies as (

    select * from {{ ref('int_companies') }}

),

estimates as (

    select * from {{ ref('int_purpose_estimates') }}

)

select
    companies.api_key,
    companies.company_name,
    companies.industry,
    companies.industry_group,
    companies.hq_country,
    estimates.scope,
    estimates.kind,
    estimates.basis,
    estimates.id,
    estimates.place,
    estimates.n_ids,
    estimates.n_yes as n_enabled,
    estimates.n as n_decided,
    estimates.n_given,
    estimates.n_effective,
    estimates.n_sampled,
    case when estimates.n_yes > 0 then estimates.total_yes end as enabled,
    estimates.total as decided,
    estimates.extrapolation as recommended_extrapolation,
    estimates.estimate as recommended_estimate,
    estimates.sampling_lower as recommended_sampling_lower,
    estimates.sampling_upper as recommended_sampling_upper,
    estimates.process_lower as recommended_process_lower,
    estimates.process_upper as recommended_process_upper,
    estimates.null_because as recommended_null_because,
    estimates.is_low_sample,
    estimates.is_census,
    estimates.is_conservative
from companies
inner join estimates on companies.api_key = estimates.api_key
