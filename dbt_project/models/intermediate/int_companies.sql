with companies as (

    select * from {{ ref('stg_consent__companies') }}

),

loads as (

    select * from {{ ref('stg_consent__loads') }}

),

daily_events as (

    select * from {{ ref('int_daily__events') }}

),

daily_domains as (

    select * from {{ ref('int_daily__domains') }}

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

),

country_names as (

    select * from {{ ref('int_country_names') }}

),

domains as (

    select
        api_key,
        domain,
        sum(n) as n,
        sum(sum(n)) over (partition by api_key) as n_all
    from daily_domains
    group by api_key, domain

),

-- A company is named after a domain if at least half of its events come from it.
main_domains as (

    select
        api_key,
        domain,
        count(*) over (partition by domain) > 1 as is_shared
    from (
        select distinct on (api_key) *
        from domains
        where n >= 0.5 * n_all and domain <> 'unknown'
        -- If two domains have half each, the first in alphabetical order.
        order by api_key, domain
    ) as halves

),

named as (

    select
        coalesce(latest.api_key, event_keys.api_key) as api_key,
        coalesce(latest.industry, 'unknown') as industry,
        coalesce(latest.industry_group, 'unknown') as industry_group,
        coalesce(latest.hq_country, 'unknown') as hq_country,
        latest.api_key is not null as is_known
    from latest
    full join event_keys on latest.api_key = event_keys.api_key

)

select
    named.api_key,
    case
        when main_domains.api_key is null then left(named.api_key::text, 8)
        when main_domains.is_shared then main_domains.domain || ' (' || left(named.api_key::text, 8) || ')'
        else main_domains.domain
    end as company_name,
    named.industry,
    named.industry_group,
    coalesce(country_names.country_name, named.hq_country) as hq_country,
    named.is_known
from named
left join country_names on named.hq_country = country_names.country_code
left join main_domains on named.api_key = main_domains.api_key
