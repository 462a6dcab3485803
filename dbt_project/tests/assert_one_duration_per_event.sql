-- Events of the days to test of which a method gives more than one duration.
select
    api_key,
    event_id,
    method
from {{ ref('int_consent_durations') }}
where (api_key, day) in ({{ days_to_test() }})
group by 1, 2, 3
having count(*) > 1
