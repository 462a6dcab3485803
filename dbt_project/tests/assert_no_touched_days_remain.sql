-- Company days that a model should have aggregated again but did not.
-- depends_on: {{ ref('int_daily__events') }}
-- depends_on: {{ ref('int_daily__dimensions') }}
-- depends_on: {{ ref('int_daily__domains') }}
-- depends_on: {{ ref('int_daily__choices') }}
-- depends_on: {{ ref('int_consent_durations') }}
-- depends_on: {{ ref('int_daily__durations') }}
-- depends_on: {{ ref('consent_daily') }}
select
    model,
    api_key,
    day
from {{ source('analytics_state', 'touched') }}
