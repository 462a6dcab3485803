-- Not through "select *": the view would name every column of the table, and no migration could change the type of one.
select
    load_id,
    row_number,
    event_id,
    api_key,
    event_time as event_at,
    token_created as token_created_at,
    token_updated as token_updated_at,
    rate as reported_rate,
    count as reported_count,
    type as event_type,
    nullif(consent, '') as consent_status,
    nullif(action, '') as action,
    nullif(country, '') as country,
    nullif(region, '') as region,
    nullif(device_type, '') as device_type,
    nullif(browser_family, '') as browser_family,
    nullif(sdk_type, '') as sdk_type,
    nullif(domain, '') as domain,
    nullif(deployment_id, '') as deployment_id,
    nullif(user_id, '') as user_id,
    choice_set,
    -- Of prompts only, because reading long JSON takes time, and in one step: the JSON's text, if it is a string.
    case
        when type = 'consent.asked'
            then lower(left(substring(({{ parameters_json('event') }} -> 'position')::text from '^"(.+)"$'), 200))
    end as notice_position
-- render() passes the table itself also with --empty, because the function needs a row of it; the model that reads this
-- view leaves out the rows.
from {{ source('raw', 'event').render() }} as event
