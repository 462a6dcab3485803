{#
    The comparison of two values over several companies. `tables` is a relation with one row per key and company and its
    2 × 2 table: a and b are the opt-ins and opt-outs of one value, c and d those of the other, in effective rows. The type
    numeric makes sums independent of their order.
#}

{#
    The odds ratio of Mantel and Haenszel (1959), its 95% interval (Robins, Breslow and Greenland 1986) and the p-value of
    their test with continuity correction, one row per key. No row if the odds ratio would be 0 or infinite.
#}
{% macro mantel_haenszel(tables, keys) -%}
    {%- set by = keys | join(", ") -%}
    select
        {{ by }},
        n_companies,
        odds_ratio,
        odds_ratio * exp(-{{ z() }} * standard_error) as odds_ratio_lower,
        odds_ratio * exp({{ z() }} * standard_error) as odds_ratio_upper,
        {{ chi_square_tail("(power(greatest(abs(excess) - 0.5, 0), 2) / excess_variance)", "1") }} as p_value
    from (
        select
            *,
            r / s as odds_ratio,
            sqrt(pr / (2 * r * r) + ps_qr / (2 * r * s) + qs / (2 * s * s)) as standard_error
        from (
            select
                {{ by }},
                count(*) as n_companies,
                sum((a * d / total)::numeric)::double precision as r,
                sum((b * c / total)::numeric)::double precision as s,
                sum(((a + d) * a * d / power(total, 2))::numeric)::double precision as pr,
                sum((((a + d) * b * c + (b + c) * a * d) / power(total, 2))::numeric)::double precision as ps_qr,
                sum(((b + c) * b * c / power(total, 2))::numeric)::double precision as qs,
                sum((a - (a + b) * (a + c) / total)::numeric)::double precision as excess,
                sum(((a + b) * (c + d) * (a + c) * (b + d) / (power(total, 2) * (total - 1)))::numeric)::double precision as excess_variance
            from (select *, a + b + c + d as total from {{ tables }}) as totalled
            group by {{ by }}
        ) as sums
        where r > 0 and s > 0
    ) as ratios
{%- endmacro %}

{#
    Whether the companies have the same odds ratio (Breslow and Day 1980, with the correction of Tarone 1985), one row per
    key with several companies: how far a is from the value, fitted_a, with which a table of the same margins has the common
    odds ratio. fitted_a solves a quadratic equation. `odds_ratios` is a relation made by mantel_haenszel().
#}
{% macro breslow_day(tables, odds_ratios, keys) -%}
    {%- set by = keys | join(", ") -%}
    select
        {{ by }},
        statistic as homogeneity_statistic,
        {{ chi_square_tail("statistic", "df") }} as homogeneity_p_value
    from (
        select
            {{ by }},
            (count(*) - 1)::integer as df,
            greatest(
                sum((power(a - fitted_a, 2) / variance)::numeric)
                -- Not power(): the number of its digits differs between versions of Postgres.
                - sum((a - fitted_a)::numeric) * sum((a - fitted_a)::numeric) / sum(variance::numeric),
                0
            )::double precision as statistic
        from (
            select
                *,
                1 / (1 / fitted_a + 1 / (a + c - fitted_a) + 1 / (a + b - fitted_a) + 1 / (d - a + fitted_a)) as variance
            from (
                select
                    *,
                    2 * odds_ratio * (a + c) * (a + b) / (
                        linear + sqrt(power(linear, 2) - 4 * (odds_ratio - 1) * odds_ratio * (a + c) * (a + b))
                    ) as fitted_a
                from (
                    select
                        *,
                        odds_ratio * (a + c + a + b) + d - a as linear
                    from {{ tables }}
                    inner join {{ odds_ratios }} using ({{ by }})
                ) as joined
            ) as fitted
        ) as deviations
        group by {{ by }}
        having count(*) > 1
    ) as tests
{%- endmacro %}

{#
    The complementary error function of a number that is not negative, with a relative error below 1.2e-7 (Press et al.
    1992, Numerical Recipes, erfcc; Postgres has erfc from version 16 on).
#}
{% macro erfc(x) -%}
    {% set t = "(1 / (1 + 0.5 * (" ~ x ~ ")))" -%}
    {{ t }} * exp(
        -power({{ x }}, 2) - 1.26551223 + {{ t }} * (1.00002368 + {{ t }} * (0.37409196 + {{ t }} * (0.09678418
        + {{ t }} * (-0.18628806 + {{ t }} * (0.27886807 + {{ t }} * (-1.13520398 + {{ t }} * (1.48851587
        + {{ t }} * (-0.82215223 + {{ t }} * 0.17087277))))))))
    )
{%- endmacro %}

{#
    The probability that a chi-square variable with df degrees of freedom is above x. For whole df it is a finite sum:
    exp(-x/2) Σ (x/2)^j / Γ(j+1) over whole j (even df) or half j (odd df, after erfc(√(x/2))).
#}
{% macro chi_square_tail(x, df) -%}
    least(1, case when {{ df }} % 2 = 1 then {{ erfc("sqrt(" ~ x ~ " / 2)") }} else exp(-{{ x }} / 2) end + coalesce((
        select sum(exp(terms.logarithm + (terms.j - {{ df }} % 2 / 2.0) * ln({{ x }} / 2) - {{ x }} / 2))
        from (
            select
                j,
                -- -ln Γ(j + 1), or of half a number less: Γ(1) = 1, Γ(1/2) = √π.
                -sum(ln(j - {{ df }} % 2 / 2.0)) over (order by j) - {{ df }} % 2 * ln(pi()) / 2 as logarithm
            from generate_series(1, ({{ df }} - 1) / 2) as j
        ) as terms
        where {{ x }} > 0
    ), 0))
{%- endmacro %}
