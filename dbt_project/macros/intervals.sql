{#
    The 95% intervals, as plain functions of sums over rows. p is a row's sampling rate and w its weight; two intervals
    follow from the same sums by what a row adds to a variance:

    sampling  f = w² (1 - p)  what all events of these files would have shown. The row is the unit that sampling keeps or
                              loses, so that Σ f estimates the variance of Σ w (Horvitz and Thompson 1952, for rows that
                              are kept independently of each other).
    process   f = w²          what the company does: every row is a draw of its process, sampled or not, so that the
                              number of rows varies like Poisson's.

    `bound` is lower or upper; the other arguments are SQL expressions. Each is simulated in internal/coverage.
#}

{# The standard normal quantile of 97.5%. #}
{% macro z() -%}
    1.959963984540054
{%- endmacro %}

{% macro signed_z(bound) -%}
    {{ {"lower": "-", "upper": ""}[bound] }}{{ z() }}
{%- endmacro %}

{#
    Of a total. Only what is drawn varies: the sum over sampled rows for sampling, all of it for the process. On the log
    scale, because a sum of few heavy weights is skewed, and a total cannot be below what was seen unsampled.
#}
{% macro total_bound(bound, total, drawn, variance) -%}
    case
        when {{ drawn }} > 0
            then {{ total }} - {{ drawn }} + {{ drawn }} * exp({{ signed_z(bound) }} * sqrt({{ variance }}) / {{ drawn }})
        else {{ total }}
    end
{%- endmacro %}

{#
    Of a ratio of two totals, on the log scale by the delta method: V(R) / R² = V(G) / G² + V(A) / A². It leaves out the
    covariance, which is not known and which, as both are events of the same pages, would make it smaller.
    Where the numerator has no row its upper bound is that of no event in Poisson's distribution: -ln 0.025.
#}
{% macro ratio_bound(bound, numerator, numerator_variance, denominator, denominator_variance) -%}
    case
        when {{ numerator }} > 0
            then {{ numerator }} / {{ denominator }} * exp({{ signed_z(bound) }} * sqrt(
                {{ numerator_variance }} / power({{ numerator }}, 2)
                + {{ denominator_variance }} / power({{ denominator }}, 2)
            ))
        when {{ denominator_variance }} > 0 then {{ {"lower": 0, "upper": "-ln(0.025)"}[bound] }} / {{ denominator }}
        else 0 / {{ denominator }}
    end
{%- endmacro %}

{#
    Of a share: Wilson (1927) with the number of unweighted rows that would be as uncertain. That is null where nothing
    is, and the share then its own bound. What lies outside 0 and 1 is rounding.
#}
{% macro share_bound(bound, share, n_effective) -%}
    case
        when {{ n_effective }} > 0
            then greatest(0, least(1, (
                {{ share }} + power({{ z() }}, 2) / (2 * {{ n_effective }})
                + {{ signed_z(bound) }} * sqrt(
                    {{ share }} * (1 - {{ share }}) / {{ n_effective }}
                    + power({{ z() }} / (2 * {{ n_effective }}), 2)
                )
            ) / (1 + power({{ z() }}, 2) / {{ n_effective }})))
        else {{ share }}
    end
{%- endmacro %}

{# Of a mean of values that are not negative, with the variance of the weighted residuals; on the log scale. #}
{% macro mean_bound(bound, mean, variance) -%}
    case
        when {{ mean }} > 0 then {{ mean }} * exp({{ signed_z(bound) }} * sqrt({{ variance }}) / {{ mean }})
        else {{ mean }}
    end
{%- endmacro %}

{# How many events a country must have to be seen with 95%, when each is kept with the probability p. #}
{% macro detectable_at_95(rate) -%}
    case when {{ rate }} < 1 then ln(0.05) / ln(1 - {{ rate }}) else {{ rate }} end
{%- endmacro %}

{#
    What the bounds of totals need, one row per key and extrapolation. Over several types the variance is the upper bound
    (Σ √V)²: one draw is shared by the events of a page, so that their sums may go up and down together.
    `strata` is a relation as the macro strata() makes it. numeric keeps sums independent of their order.
#}
{% macro total_moments(strata, keys) -%}
    select
        {{ keys | join(", ") }},
        extrapolation,
        sum(n)::bigint as n,
        sum(n_sampled)::bigint as n_sampled,
        sum(n_rate_unknown)::bigint as n_rate_unknown,
        sum(total)::double precision as total,
        sum(sampled)::double precision as sampled,
        power(sum(sqrt(sampling_variance)), 2)::double precision as sampling_variance,
        power(sum(sqrt(process_variance)), 2)::double precision as process_variance,
        count(*) filter (where n_sampled > 0) > 1 as conservative
    from (
        select
            {{ keys | join(", ") }},
            extrapolation,
            event_type,
            sum(n) as n,
            coalesce(sum(n) filter (where sampling_rate < 1), 0) as n_sampled,
            sum(n_rate_unknown) as n_rate_unknown,
            sum(weight) as total,
            coalesce(sum(weight) filter (where sampling_rate < 1), 0) as sampled,
            sum(squares - squares_rate) as sampling_variance,
            sum(squares) as process_variance
        from {{ strata }}
        group by {{ keys | join(", ") }}, extrapolation, event_type
    ) as types
    group by {{ keys | join(", ") }}, extrapolation
{%- endmacro %}

{#
    What the bounds of shares need, one row per key and extrapolation; the strata say with is_yes which rows have what the
    share is of. Its variance is that of the residuals, Σ f (y - share)² / (Σ w)², with y smoothed within each rate to
    (yes + 1) / (rows + 2): of the few rows of a low rate none may have a rare y, which would make the variance nothing.
    Over several types it is the same upper bound as for totals. At a share of 0 or 1 the rows count as (Σ w)² / Σ f.
#}
{% macro share_moments(strata, keys) -%}
    {% set by = keys | join(", ") %}
    select
        *,
        {{ effective_rows("sampling_residuals", "sampling_squares") }} as sampling_n_effective,
        {{ effective_rows("process_residuals", "process_squares") }} as process_n_effective
    from (
        select
            {{ by }},
            extrapolation,
            sum(n)::bigint as n,
            sum(n_yes)::bigint as n_yes,
            sum(n_sampled)::bigint as n_sampled,
            sum(n_rate_unknown)::bigint as n_rate_unknown,
            sum(total)::double precision as total,
            sum(total_yes)::double precision as total_yes,
            (sum(total_yes) / sum(total))::double precision as share,
            power(sum(sqrt(sampling_squares)), 2)::double precision as sampling_squares,
            power(sum(sqrt(process_squares)), 2)::double precision as process_squares,
            power(sum(sqrt(sampling_residuals)), 2)::double precision as sampling_residuals,
            power(sum(sqrt(process_residuals)), 2)::double precision as process_residuals,
            count(*) filter (where n_sampled > 0) > 1 as conservative
        from (
            select
                {{ by }},
                extrapolation,
                event_type,
                sum(n) as n,
                sum(n_yes) as n_yes,
                coalesce(sum(n) filter (where sampling_rate < 1), 0) as n_sampled,
                sum(n_rate_unknown) as n_rate_unknown,
                sum(weight) as total,
                sum(weight_yes) as total_yes,
                sum(squares - squares_rate) as sampling_squares,
                sum(squares) as process_squares,
                sum((squares - squares_rate) * residual) as sampling_residuals,
                sum(squares * residual) as process_residuals
            from (
                select
                    *,
                    smoothed * power(1 - share_of_all, 2) + (1 - smoothed) * power(share_of_all, 2) as residual
                from (
                    select
                        *,
                        (sum(n_yes) over (partition by {{ by }}, extrapolation, sampling_rate) + 1)
                        / (sum(n) over (partition by {{ by }}, extrapolation, sampling_rate) + 2) as smoothed,
                        sum(weight_yes) over (partition by {{ by }}, extrapolation)
                        / sum(weight) over (partition by {{ by }}, extrapolation) as share_of_all
                    from (
                        select
                            {{ by }},
                            extrapolation,
                            event_type,
                            sampling_rate,
                            sum(n) as n,
                            coalesce(sum(n) filter (where is_yes), 0) as n_yes,
                            sum(n_rate_unknown) as n_rate_unknown,
                            sum(weight) as weight,
                            coalesce(sum(weight) filter (where is_yes), 0) as weight_yes,
                            sum(squares) as squares,
                            sum(squares_rate) as squares_rate
                        from {{ strata }}
                        group by {{ by }}, extrapolation, event_type, sampling_rate
                    ) as cells
                ) as smoothed_cells
            ) as residuals
            group by {{ by }}, extrapolation, event_type
        ) as types
        group by {{ by }}, extrapolation
    ) as sums
{%- endmacro %}

{% macro effective_rows(residuals, squares) -%}
    case
        when share > 0 and share < 1 then share * (1 - share) * power(total, 2) / nullif({{ residuals }}, 0)
        else power(total, 2) / nullif({{ squares }}, 0)
    end
{%- endmacro %}
