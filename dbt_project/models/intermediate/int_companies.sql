with companies as (

    select * from {{ ref('stg_consent__companies') }}

),

loads as (

    select * from {{ ref('stg_consent__loads') }}

),

daily_events as (

    select * from {{ ref('int_daily__events') }}

),

latest as (

    select distinct on (companies.api_key) companies.*
    from companies
    inner join loads on companies.load_id = loads.load_id
    where loads.state = 'published'
    order by companies.api_key asc, companies.load_id desc, companies.row_number desc

),

event_keys as (

    select distinct api_key
    from daily_events

)

select
    coalesce(latest.api_key, event_keys.api_key) as api_key,
    coalesce(latest.industry, 'unknown') as industry,
    coalesce(latest.industry_group, 'unknown') as industry_group,
    coalesce(latest.hq_country, 'unknown') as hq_country,
    latest.api_key is not null as is_known
from latest
full join event_keys on latest.api_key = event_keys.api_key
