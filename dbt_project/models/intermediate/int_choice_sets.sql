{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='fail',
        pre_hook=['{{ set_planner_options() }}', '{{ delete_unused_choice_sets() }}'],
        post_hook='{{ set_replica_identity() }}'
    )
}}

-- Rows with the same set have the same choices, so one of them is parsed.
with new_sets as (

    select
        choice_set,
        min(example) as example
    from {{ ref('int_daily__choices') }}
    {% if is_incremental() %}
        where choice_set not in (select known.choice_set from {{ this }} as known)
    {% endif %}
    group by choice_set

),

-- A file that was replaced since int_daily__choices was built has no example any more. The next build reads its
-- successor.
parsed as (

    select
        new_sets.choice_set,
        choices.purposes,
        choices.purposes_li,
        choices.vendors,
        choices.vendors_li
    from {{ source('raw', 'event').render() }} as event
    inner join new_sets on event.load_id = new_sets.example[1] and event.row_number = new_sets.example[2]
    cross join
        json_to_record({{ parameters_json('event') }}) as choices (
            purposes json, purposes_li json, vendors json, vendors_li json
        )
    where
        -- A range is one search in the BRIN index on load_id.
        event.load_id >= (select min(firsts.example[1]) from new_sets as firsts)
        and event.load_id <= (select max(lasts.example[1]) from new_sets as lasts)

),

objects as (

    select
        parsed.choice_set,
        objects.kind,
        objects.basis,
        objects.object,
        hashtextextended(objects.kind || objects.basis || objects.object::text, 0) as part
    from parsed
    cross join
        lateral (
            values
            ('purpose', 'consent', parsed.purposes),
            ('purpose', 'legitimate_interest', parsed.purposes_li),
            ('vendor', 'consent', parsed.vendors),
            ('vendor', 'legitimate_interest', parsed.vendors_li)
        ) as objects (kind, basis, object)

),

-- Many sets share a part, and reading its lists takes most of the time.
first_sets as (

    select
        part,
        min(choice_set) as choice_set
    from objects
    group by part

),

distinct_parts as (

    select
        objects.part,
        objects.object
    from objects
    inner join first_sets on objects.part = first_sets.part and objects.choice_set = first_sets.choice_set

),

-- Strings and numbers are ids; ids are cut off, because the marts' primary keys cannot have values of any length. An id
-- that is in both lists is undecided. Materialized, because the planner would read the lists of a part for each set.
parts as materialized ( -- noqa: ST03

    select
        distinct_parts.part,
        decisions.ids,
        decisions.states
    from distinct_parts
    cross join
        -- For each part on its own, which sorts few ids at a time.
        lateral ( -- noqa: ST05
            with entries as (
                select
                    lists.is_enabled,
                    entries.entry
                from (
                    values
                    (true, distinct_parts.object -> 'enabled'),
                    (false, distinct_parts.object -> 'disabled')
                ) as lists (is_enabled, list)
                cross join
                    json_array_elements(
                        case when json_typeof(lists.list) = 'array' then lists.list end
                    ) as entries (entry)
            ),

            ids as (
                select
                    is_enabled,
                    left({{ text_of_id("entry") | indent(20) }}, 200) collate "C" as id
                from entries
                where {{ is_id("entry") }}
            ),

            decided as (
                select
                    id,
                    bool_and(is_enabled) as is_enabled
                from ids
                group by id
                having bool_and(is_enabled) = bool_or(is_enabled)
                order by id
            )

            select
                array_agg(decided.id) as ids,
                array_agg(decided.is_enabled) as states
            from decided
        ) as decisions

),

decided_parts as (

    select
        objects.choice_set,
        objects.kind,
        objects.basis,
        objects.part,
        parts.ids,
        parts.states
    from objects
    inner join parts on objects.part = parts.part
    where parts.ids is not null

)

-- A set without any decision has one row, so that it is known.
select
    parsed.choice_set,
    decided_parts.kind,
    decided_parts.basis,
    decided_parts.part,
    -- The same for parts that list the same ids, which are most parts of a notice.
    hashtextextended(decided_parts.ids::text, 0) as listing,
    decided_parts.ids,
    decided_parts.states
from parsed
left join decided_parts on parsed.choice_set = decided_parts.choice_set
