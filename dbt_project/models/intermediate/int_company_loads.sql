{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='fail',
        pre_hook='{{ delete_removed_company_loads() }}',
        post_hook='{{ set_replica_identity() }}'
    )
}}

-- The rows of a load never change, so only new loads are counted.
with loads as (

    select load_id
    from {{ ref('stg_consent__loads') }}
    where contract = 'event' and state = 'published'
    {% if is_incremental() %}
        except
        select load_id
        from {{ this }}
    {% endif %}

),

events as (

    select * from {{ ref('int_events') }}

)

select
    load_id,
    api_key,
    count(*) as n_rows
from events
{% if is_incremental() %}
    -- An array makes the planner use the index on load_id.
    where load_id = any(array(select loads.load_id from loads))
{% else %}
    where load_id in (select loads.load_id from loads)
{% endif %}
group by load_id, api_key
