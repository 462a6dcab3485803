{{ config(materialized = 'table') }}

-- depends_on: {{ ref('published_loads') }}
{% if var('behaviour', 'works') == 'works' %}
select 1 as id, current_setting('timezone') as zone
{% elif var('behaviour') == 'fails' %}
select 1 / 0 as id, '' as zone
{% elif var('behaviour') == 'takes ages' %}
select count(*) as id, 'takes ages' as zone from generate_series(1, 1000000000000)
{% elif var('behaviour') == 'reads what it may not' %}
select 1 as id, rolpassword as zone from pg_authid
{% elif var('behaviour') == 'meets a new load' %}
{% if execute %}
{% do run_query("update raw.load set state = 'superseded' where load_id = (select max(load_id) from raw.load)") %}
{% do run_query("commit") %}
{% endif %}
select 1 as id, '' as zone
{% endif %}
