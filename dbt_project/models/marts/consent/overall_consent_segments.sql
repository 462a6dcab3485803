with estimates as (

    select * from {{ ref('int_segment_estimates') }}

),

country_names as (

    select * from {{ ref('int_country_names') }}

)

select
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
    estimates.estimate,
    estimates.sampling_lower,
    estimates.sampling_upper,
    estimates.process_lower,
    estimates.process_upper,
    estimates.null_because,
    estimates.is_low_sample,
    estimates.is_census,
    estimates.is_conservative,
    estimates.is_above_one
from estimates
left join country_names on estimates.dimension = 'country' and estimates.value = country_names.country_code
where estimates.api_key = {{ all_companies() }}
