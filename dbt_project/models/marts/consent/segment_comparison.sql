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

-- 1. The choices of each company and value. type numeric keeps sums independent of their order.
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

-- 2. As effective rows: the share of the opt-ins, of as many rows of equal weight as are as certain.
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

-- 4. The companies that have choices of both values, and both opt-ins and opt-outs among them: others say nothing about the
-- difference. Of the 2 × 2 table, a and b are the value's opt-ins and opt-outs, c and d those of the reference.
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
        others.opt_outs as d,
        cells.opt_ins + cells.opt_outs as value_total,
        others.opt_ins + others.opt_outs as reference_total,
        cells.opt_ins + others.opt_ins as opt_in_total,
        cells.opt_outs + others.opt_outs as opt_out_total,
        cells.opt_ins + cells.opt_outs + others.opt_ins + others.opt_outs as total
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

-- 5. The odds ratio of Mantel and Haenszel (1959), and the sums of the variance of its logarithm (Robins, Breslow and
-- Greenland 1986) and of the test.
sums as (

    select
        scope,
        dimension,
        value,
        count(*) as n_companies,
        sum(n)::bigint as n,
        sum(n_rate_unknown) as n_rate_unknown,
        sum(value_total::numeric)::double precision as n_effective,
        sum(reference_total::numeric)::double precision as n_effective_reference,
        sum((a * d / total)::numeric)::double precision as r,
        sum((b * c / total)::numeric)::double precision as s,
        sum(((a + d) * a * d / power(total, 2))::numeric)::double precision as pr,
        sum((((a + d) * b * c + (b + c) * a * d) / power(total, 2))::numeric)::double precision as ps_qr,
        sum(((b + c) * b * c / power(total, 2))::numeric)::double precision as qs,
        sum((a - value_total * opt_in_total / total)::numeric)::double precision as excess,
        sum((
            value_total * reference_total * opt_in_total * opt_out_total / (power(total, 2) * (total - 1))
        )::numeric)::double precision as excess_variance
    from tables
    group by 1, 2, 3

),

odds_ratios as (

    select
        *,
        r / s as odds_ratio,
        sqrt(pr / (2 * r * r) + ps_qr / (2 * r * s) + qs / (2 * s * s)) as standard_error
    from sums
    where r > 0 and s > 0

),

-- 6. Whether the companies have the same odds ratio (Breslow and Day 1980, with the correction of Tarone 1985): how far each
-- company's opt-ins are from those that the common odds ratio would give. They solve a quadratic equation.
fitted as (

    select
        tables.*,
        2 * odds_ratio * opt_in_total * value_total / (
            linear + sqrt(power(linear, 2) - 4 * (odds_ratio - 1) * odds_ratio * opt_in_total * value_total)
        ) as fitted_a
    from tables
    inner join odds_ratios using (scope, dimension, value)
    cross join lateral (
        select odds_ratio * (opt_in_total + value_total) + reference_total - opt_in_total as linear
    ) as equation

),

deviations as (

    select
        scope,
        dimension,
        value,
        a - fitted_a as deviation,
        1 / (
            1 / fitted_a + 1 / (opt_in_total - fitted_a) + 1 / (value_total - fitted_a)
            + 1 / (reference_total - opt_in_total + fitted_a)
        ) as variance
    from fitted

),

homogeneity as (

    select
        scope,
        dimension,
        value,
        greatest(
            sum((power(deviation, 2) / variance)::numeric) - power(sum(deviation::numeric), 2) / sum(variance::numeric), 0
        )::double precision as statistic,
        (count(*) - 1)::integer as degrees_of_freedom
    from deviations
    group by 1, 2, 3

),

-- 7. What is published.
reasons as (

    select
        compared.*,
        coalesce(sums.n_companies, 0) as n_companies,
        coalesce(sums.n, 0) as n_compared,
        coalesce(sums.n_effective, 0) as n_effective,
        coalesce(sums.n_effective_reference, 0) as n_effective_reference,
        case
            when sums.n_companies is null then 'no_common_company'
            when least(sums.n_effective, sums.n_effective_reference) < {{ least_effective_rows() }} then 'few_effective_rows'
            when sums.r = 0 or sums.s = 0 then 'no_odds_ratio'
            when sums.n_rate_unknown > 0.01 * sums.n then 'rate_unknown'
        end as null_because
    from compared
    left join sums using (scope, dimension, value)

),

published as (

    select
        reasons.scope,
        reasons.dimension,
        reasons.value,
        reasons.reference,
        reasons.n,
        reasons.n_companies,
        reasons.n_compared,
        reasons.n_effective,
        reasons.n_effective_reference,
        reasons.null_because,
        case when coalesce(reasons.null_because, 'rate_unknown') = 'rate_unknown' then odds_ratios.odds_ratio end as odds_ratio,
        case
            when reasons.null_because is null
                then odds_ratios.odds_ratio * exp(-{{ z() }} * odds_ratios.standard_error)
        end as odds_ratio_lower,
        case
            when reasons.null_because is null
                then odds_ratios.odds_ratio * exp({{ z() }} * odds_ratios.standard_error)
        end as odds_ratio_upper,
        case
            when reasons.null_because is null
                then {{ chi_square_tail(
                    "(power(greatest(abs(odds_ratios.excess) - 0.5, 0), 2) / odds_ratios.excess_variance)", "1"
                ) }}
        end as p_value,
        case when reasons.null_because is null and degrees_of_freedom > 0 then homogeneity.statistic end as homogeneity_statistic,
        case
            when reasons.null_because is null and degrees_of_freedom > 0
                then {{ chi_square_tail("homogeneity.statistic", "homogeneity.degrees_of_freedom") }}
        end as homogeneity_p_value,
        count(*) filter (where reasons.null_because is null) over (partition by reasons.scope, reasons.dimension) as n_comparisons
    from reasons
    left join odds_ratios using (scope, dimension, value)
    left join homogeneity using (scope, dimension, value)

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
