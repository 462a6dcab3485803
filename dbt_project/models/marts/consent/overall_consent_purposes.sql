with estimates as (

    select * from {{ ref('int_purpose_estimates') }}

)

select
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
    estimates.estimate,
    estimates.sampling_lower,
    estimates.sampling_upper,
    estimates.process_lower,
    estimates.process_upper,
    estimates.null_because,
    estimates.is_low_sample,
    estimates.is_census,
    estimates.is_conservative
from estimates
where estimates.api_key = {{ all_companies() }}
