-- Estimates outside their interval; intervals with only one bound; intervals that are missing without a reason, or
-- present with one; process intervals that do not contain the sampling interval of the same rows.
with estimates as (

    select
        'extrapolation_sensitivity' as mart,
        api_key,
        concat_ws(' ', scope, metric, extrapolation) as part,
        n,
        estimate,
        sampling_lower,
        sampling_upper,
        process_lower,
        process_upper,
        null_because
    from {{ ref('extrapolation_sensitivity') }}
    union all
    select
        'event_breakdown' as mart,
        api_key,
        concat_ws(' ', dimension, value) as part,
        n,
        estimate,
        sampling_lower,
        sampling_upper,
        process_lower,
        process_upper,
        null_because
    from {{ ref('event_breakdown') }}
    union all
    select
        'consent_status_distribution' as mart,
        api_key,
        concat_ws(' ', population, consent_status) as part,
        n_population as n,
        share as estimate,
        share_sampling_lower as sampling_lower,
        share_sampling_upper as sampling_upper,
        share_process_lower as process_lower,
        share_process_upper as process_upper,
        share_null_because as null_because
    from {{ ref('consent_status_distribution') }}
    union all
    select
        'consent_daily' as mart,
        api_key,
        concat_ws(' ', event_date, scope, metric) as part,
        n,
        estimate,
        sampling_lower,
        sampling_upper,
        process_lower,
        process_upper,
        null_because
    from {{ ref('consent_daily') }}
    union all
    select
        'overall_consent_metrics' as mart,
        null as api_key,
        concat_ws(' ', scope, metric) as part,
        n,
        estimate,
        sampling_lower,
        sampling_upper,
        process_lower,
        process_upper,
        null_because
    from {{ ref('overall_consent_metrics') }}
    union all
    select
        'consent_segments' as mart,
        api_key,
        concat_ws(' ', scope, dimension, value, rate) as part,
        n,
        recommended_estimate as estimate,
        recommended_sampling_lower as sampling_lower,
        recommended_sampling_upper as sampling_upper,
        recommended_process_lower as process_lower,
        recommended_process_upper as process_upper,
        recommended_null_because as null_because
    from {{ ref('consent_segments') }}
    union all
    select
        'overall_consent_segments' as mart,
        null as api_key,
        concat_ws(' ', scope, dimension, value, rate) as part,
        n,
        estimate,
        sampling_lower,
        sampling_upper,
        process_lower,
        process_upper,
        null_because
    from {{ ref('overall_consent_segments') }}
    union all
    select
        'time_to_consent' as mart,
        api_key,
        method as part,
        n,
        median_seconds as estimate,
        median_sampling_lower as sampling_lower,
        median_sampling_upper as sampling_upper,
        median_process_lower as process_lower,
        median_process_upper as process_upper,
        null_because
    from {{ ref('time_to_consent') }}

)

select *
from estimates
where
    num_nulls(sampling_lower, sampling_upper) = 1
    or num_nulls(process_lower, process_upper) = 1
    or (null_because is null) <> (num_nulls(estimate, sampling_lower, process_lower) = 0)
    or not (
        sampling_lower <= estimate * (1 + 1e-9) and sampling_upper >= estimate * (1 - 1e-9)
        and process_lower <= sampling_lower * (1 + 1e-9) and process_upper >= sampling_upper * (1 - 1e-9)
    )
