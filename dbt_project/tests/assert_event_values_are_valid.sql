-- Rows of the loads to test with a rate or COUNT outside its valid range, or without event id, company or day.
select
    load_id,
    row_number,
    sampling_rate,
    event_count
from {{ ref('int_events') }}
where
    load_id = any({{ loads_to_test() }})
    and not coalesce(
        num_nulls(event_id, api_key, day) = 0
        and sampling_rate > 0
        and sampling_rate <= 1
        and event_count >= 1
        and (not is_rate_unknown or sampling_rate = 1)
        and (not is_count_unknown or event_count = 1),
        false
    )
