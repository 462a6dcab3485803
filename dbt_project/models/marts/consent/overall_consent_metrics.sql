with estimates as (

    select * from {{ ref('int_company_estimates') }}

)

select
    scope,
    metric,
    n_numerator,
    n_denominator,
    n,
    n_sampled,
    numerator,
    denominator,
    estimate,
    sampling_lower,
    sampling_upper,
    process_lower,
    process_upper,
    null_because,
    is_low_sample,
    is_census,
    is_conservative,
    is_above_one
from estimates
where api_key = {{ all_companies() }}
