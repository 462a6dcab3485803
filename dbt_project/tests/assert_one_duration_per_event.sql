-- Events of the days to test with more than one duration by the same method and shift.
select
    api_key,
    event_id,
    method,
    shift_seconds
from {{ ref('int_consent_durations') }}
where {{ is_on_day_to_test(days_to_test()) }}
group by 1, 2, 3, 4
having count(*) > 1
