{{ config(pre_hook='{{ set_planner_options() }}') }}

with daily_choices as (

    select * from {{ ref('int_daily__choices') }}

),

choice_sets as (

    select * from {{ ref('int_choice_sets') }}

),

company_weighting as (

    select * from {{ ref('int_company_weighting') }}

),

-- Added up over the days first, which Citus does on the workers.
set_sums as (

    select
        api_key,
        event_type,
        choice_set,
        action_class,
        sampling_rate,
        sum(n) as n,
        sum(n_rate_unknown) as n_rate_unknown,
        sum(count_sum) as count_sum,
        sum(count_sum_squares) as count_sum_squares
    from daily_choices
    group by api_key, event_type, choice_set, action_class, sampling_rate

),

-- Many sets share a part, so this leaves fewer rows to repeat for each id. Of the actions, only the scope matters.
part_sums as (

    select
        set_sums.api_key,
        set_sums.event_type,
        choice_sets.part,
        case when {{ is_notice() }} then 'notice' else 'external' end as action_class,
        set_sums.sampling_rate,
        sum(set_sums.n) as n,
        sum(set_sums.n_rate_unknown) as n_rate_unknown,
        sum(set_sums.count_sum) as count_sum,
        sum(set_sums.count_sum_squares) as count_sum_squares
    from set_sums
    inner join choice_sets on set_sums.choice_set = choice_sets.choice_set
    where choice_sets.part is not null
    group by
        set_sums.api_key,
        set_sums.event_type,
        choice_sets.part,
        case when {{ is_notice() }} then 'notice' else 'external' end,
        set_sums.sampling_rate

),

parts as (

    select distinct on (part)
        part,
        kind,
        basis,
        listing,
        ids,
        states
    from choice_sets
    where part is not null
    order by part

),

-- Materialized, because the planner would join the sums with the ids of all parts of the company.
company_parts as materialized ( -- noqa: ST03

    select
        part_sums.*,
        parts.kind,
        parts.basis,
        parts.listing,
        parts.states
    from part_sums
    inner join parts on part_sums.part = parts.part

),

-- The rows of each id follow from the listings, which are far fewer than the parts.
listing_sums as (

    select
        api_key,
        kind,
        basis,
        listing,
        sum(n) as n
    from company_parts
    group by api_key, kind, basis, listing

),

listings as (

    select distinct on (listing)
        listing,
        ids
    from parts
    order by listing

),

listed_ids as (

    select
        listing_sums.api_key,
        listing_sums.kind,
        listing_sums.basis,
        listing_sums.listing,
        listing_sums.n,
        entries.id,
        entries.position
    from listing_sums
    inner join listings on listing_sums.listing = listings.listing
    cross join unnest(listings.ids) with ordinality as entries (id, position)

),

-- Only the ids with the most rows of each company, and of all together, are published.
company_ids as (

    {{ ranked_ids("listed_ids", ["api_key", "kind", "basis"]) | indent }}

),

overall_ids as (

    {{ ranked_ids("listed_ids", ["kind", "basis"]) | indent }}

),

published_ids as (

    select
        company_ids.api_key,
        company_ids.kind,
        company_ids.basis,
        company_ids.id,
        company_ids.place,
        company_ids.n_ids,
        overall_ids.place as overall_place,
        overall_ids.n_ids as n_overall_ids
    from company_ids
    inner join overall_ids
        on
            company_ids.kind = overall_ids.kind
            and company_ids.basis = overall_ids.basis
            and company_ids.id = overall_ids.id
    where company_ids.place <= {{ most_ids() }} or overall_ids.place <= {{ most_ids() }}

),

published_positions as (

    select
        listed_ids.api_key,
        listed_ids.kind,
        listed_ids.basis,
        listed_ids.listing,
        listed_ids.id,
        listed_ids.position
    from listed_ids
    inner join published_ids
        on
            listed_ids.api_key = published_ids.api_key
            and listed_ids.kind = published_ids.kind
            and listed_ids.basis = published_ids.basis
            and listed_ids.id = published_ids.id

),

-- A part has a state for each place of its listing, so that the many vendors that are not published need no row.
decisions as (

    select
        company_parts.api_key,
        company_parts.kind,
        company_parts.basis,
        published_positions.id,
        company_parts.states[published_positions.position] as is_enabled,
        company_parts.event_type,
        company_parts.action_class,
        company_parts.sampling_rate,
        company_parts.n,
        company_parts.n_rate_unknown,
        company_parts.count_sum,
        company_parts.count_sum_squares
    from company_parts
    inner join published_positions
        on
            company_parts.api_key = published_positions.api_key
            and company_parts.kind = published_positions.kind
            and company_parts.basis = published_positions.basis
            and company_parts.listing = published_positions.listing

),

strata as materialized ( -- noqa: ST03

    {{ strata(
        "decisions",
        ["api_key", "kind", "basis", "id", "is_enabled", "action_class"],
        ["count_over_rate", "inverse_rate"]
    ) | indent }}

)

select
    strata.api_key,
    strata.kind,
    strata.basis,
    strata.id,
    published_ids.place,
    published_ids.n_ids,
    published_ids.overall_place,
    published_ids.n_overall_ids,
    strata.is_enabled,
    strata.event_type,
    strata.action_class,
    strata.sampling_rate,
    strata.n,
    strata.n_rate_unknown,
    strata.extrapolation,
    strata.weight,
    strata.squares,
    strata.squares_rate
from strata
inner join company_weighting on strata.api_key = company_weighting.api_key
inner join published_ids
    on
        strata.api_key = published_ids.api_key
        and strata.kind = published_ids.kind
        and strata.basis = published_ids.basis
        and strata.id = published_ids.id
where strata.extrapolation = {{ recommended_extrapolation("company_weighting.weighting") }}
