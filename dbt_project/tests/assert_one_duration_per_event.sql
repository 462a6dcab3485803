-- Events of the days to test of which a method gives more than one duration; a placebo gives one for each shift.
select
    api_key,
    event_id,
    method,
    shift_seconds
from {{ ref('int_consent_durations') }}
where {{ is_of_days(days_to_test()) }}
group by 1, 2, 3, 4
having count(*) > 1
