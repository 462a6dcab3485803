-- Rows of the loads to test with a rate, COUNT or weight outside its valid range.
select
    load_id,
    row_number,
    sampling_rate,
    event_count,
    weight_count_over_rate,
    weight_inverse_rate,
    weight_count
from {{ ref('int_events') }}
where
    load_id = any({{ loads_to_test() }})
    and not coalesce(
        sampling_rate > 0
        and sampling_rate <= 1
        and event_count >= 1
        and weight_count_over_rate >= weight_count
        and weight_inverse_rate >= 1
        and (not is_rate_unknown or sampling_rate = 1)
        and (not is_count_unknown or event_count = 1),
        false
    )
