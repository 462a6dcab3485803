{{ config(pre_hook='{{ set_planner_options() }}') }}

with segment_strata as (

    select *
    from {{ ref('int_segment_strata') }}
    where event_type = 'consent.given' and {{ is_choice() }}

),

country_names as (

    select * from {{ ref('int_country_names') }}

),

scopes as (

    select unnest(array['all', 'notice']) as scope

),

-- 1. The choices of each company and value.
choices as (

    select
        segment_strata.api_key,
        scopes.scope,
        segment_strata.dimension,
        segment_strata.value,
        sum(segment_strata.n) as n,
        sum(segment_strata.n_rate_unknown) as n_rate_unknown,
        sum(segment_strata.weight) as weight,
        coalesce(sum(segment_strata.weight) filter (where {{ is_opt_in() }}), 0) as opt_in_weight,
        sum(segment_strata.squares) as squares
    from segment_strata
    cross join scopes
    where scopes.scope = 'all' or {{ is_notice() }}
    group by 1, 2, 3, 4

),

-- 2. In effective rows: the share of the opt-ins of as many rows of equal weight as are as certain.
cells as (

    select
        api_key,
        scope,
        dimension,
        value,
        n,
        n_rate_unknown,
        opt_in_weight / weight * {{ kish_rows("weight", "squares") }} as opt_ins,
        (1 - opt_in_weight / weight) * {{ kish_rows("weight", "squares") }} as opt_outs
    from choices

),

-- 3. Each value is compared with the one that has the most rows over all companies.
value_rows as (

    select
        scope,
        dimension,
        value,
        sum(n)::bigint as n,
        rank() over (
            partition by scope, dimension order by value = 'unknown', sum(n) desc, value collate "C"
        ) as rank
    from cells
    group by 1, 2, 3

),

compared as (

    select
        value_rows.scope,
        value_rows.dimension,
        value_rows.value,
        value_rows.n,
        most_frequent.value as reference
    from value_rows
    inner join value_rows as most_frequent
        on
            value_rows.scope = most_frequent.scope
            and value_rows.dimension = most_frequent.dimension
            and value_rows.rank > most_frequent.rank
    where most_frequent.rank = 1

),

-- 4. The companies that have choices of both values, and both opt-ins and opt-outs among them: others say nothing about
-- the difference.
tables as (

    select
        compared.scope,
        compared.dimension,
        compared.value,
        cells.n + others.n as n,
        cells.n_rate_unknown + others.n_rate_unknown as n_rate_unknown,
        cells.opt_ins as a,
        cells.opt_outs as b,
        others.opt_ins as c,
        others.opt_outs as d
    from compared
    inner join cells
        on
            compared.scope = cells.scope
            and compared.dimension = cells.dimension
            and compared.value = cells.value
    inner join cells as others
        on
            compared.scope = others.scope
            and compared.dimension = others.dimension
            and compared.reference = others.value
            and cells.api_key = others.api_key
    where cells.opt_ins + others.opt_ins > 0 and cells.opt_outs + others.opt_outs > 0

),

sums as (

    select
        scope,
        dimension,
        value,
        count(*) as n_companies,
        sum(n)::bigint as n_compared,
        sum(n_rate_unknown) as n_rate_unknown,
        sum((a + b)::numeric)::double precision as n_effective,
        sum((c + d)::numeric)::double precision as n_effective_reference
    from tables
    group by 1, 2, 3

),

odds_ratios as (

    {{ mantel_haenszel("tables", ["scope", "dimension", "value"]) | indent }}

),

homogeneity as (

    {{ breslow_day("tables", "odds_ratios", ["scope", "dimension", "value"]) | indent }}

),

-- 5. What is published.
reasons as (

    select
        compared.*,
        coalesce(sums.n_companies, 0) as n_companies,
        coalesce(sums.n_compared, 0) as n_compared,
        coalesce(sums.n_effective, 0) as n_effective,
        coalesce(sums.n_effective_reference, 0) as n_effective_reference,
        odds_ratios.odds_ratio,
        odds_ratios.odds_ratio_lower,
        odds_ratios.odds_ratio_upper,
        odds_ratios.p_value,
        homogeneity.homogeneity_statistic,
        homogeneity.homogeneity_p_value,
        case
            when sums.n_companies is null then 'no_common_company'
            when least(sums.n_effective, sums.n_effective_reference) < {{ least_effective_rows() }}
                then 'few_effective_rows'
            when odds_ratios.odds_ratio is null then 'no_odds_ratio'
            when sums.n_rate_unknown > 0.01 * sums.n_compared then 'rate_unknown'
        end as null_because
    from compared
    left join sums
        on
            compared.scope = sums.scope
            and compared.dimension = sums.dimension
            and compared.value = sums.value
    left join odds_ratios
        on
            compared.scope = odds_ratios.scope
            and compared.dimension = odds_ratios.dimension
            and compared.value = odds_ratios.value
    left join homogeneity
        on
            compared.scope = homogeneity.scope
            and compared.dimension = homogeneity.dimension
            and compared.value = homogeneity.value

),

published as (

    select
        scope,
        dimension,
        value,
        reference,
        n,
        n_companies,
        n_compared,
        n_effective,
        n_effective_reference,
        null_because,
        case when coalesce(null_because, 'rate_unknown') = 'rate_unknown' then odds_ratio end as odds_ratio,
        case when null_because is null then odds_ratio_lower end as odds_ratio_lower,
        case when null_because is null then odds_ratio_upper end as odds_ratio_upper,
        case when null_because is null then p_value end as p_value,
        case when null_because is null then homogeneity_statistic end as homogeneity_statistic,
        case when null_because is null then homogeneity_p_value end as homogeneity_p_value,
        count(*) filter (where null_because is null) over (partition by scope, dimension) as n_comparisons
    from reasons

)

select
    published.scope,
    published.dimension,
    published.value,
    coalesce(value_names.country_name, published.value) as value_name,
    published.reference,
    coalesce(reference_names.country_name, published.reference) as reference_name,
    published.n,
    published.n_companies,
    published.n_compared,
    published.n_effective,
    published.n_effective_reference,
    published.odds_ratio,
    published.odds_ratio_lower,
    published.odds_ratio_upper,
    published.p_value,
    published.n_comparisons,
    -- Bonferroni: of many comparisons without a difference, some have a small p-value by chance.
    coalesce(published.p_value * published.n_comparisons < 0.05, false) as is_clear,
    published.homogeneity_statistic,
    published.homogeneity_p_value,
    published.null_because
from published
left join country_names as value_names on published.dimension = 'country' and published.value = value_names.country_code
left join country_names as reference_names
    on published.dimension = 'country' and published.reference = reference_names.country_code
