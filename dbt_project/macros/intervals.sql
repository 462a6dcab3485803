{#
    The 95% intervals, as functions of sums over rows. p is a row's sampling rate and w its weight. The two intervals
    differ in f, which a row adds to the variance:

    sampling  f = w² (1 - p)  what all events of these files would have shown. Sampling keeps or loses whole rows, so Σ f
                              estimates the variance of Σ w (Horvitz and Thompson 1952, for rows that are kept
                              independently of each other).
    process   f = w²          the company itself: every row, sampled or not, is a draw of its process, and the number of
                              rows has a Poisson distribution.

    `bound` is lower or upper; the other arguments are SQL expressions. Each is simulated in test/coverage.
#}

{# The standard normal quantile of 97.5%. #}
{% macro z() -%}
    1.959963984540054
{%- endmacro %}

{% macro signed_z(bound) -%}
    {{ {"lower": "-", "upper": ""}[bound] }}{{ z() }}
{%- endmacro %}

{# The bound of a sum of rows, on the log scale, because a sum of few heavy weights is skewed. #}
{% macro sum_bound(bound, sum, variance) -%}
    case when {{ sum }} > 0 then {{ sum }} * exp({{ signed_z(bound) }} * sqrt({{ variance }}) / {{ sum }}) else 0 end
{%- endmacro %}

{#
    The variance of a sum of n rows with a correction for its logarithm: √V / S is only the first term of the delta
    method, and with few rows the next term matters.
#}
{% macro small_sum_variance(variance, n) -%}
    {{ variance }} * (1 + 1.0 / nullif({{ n }}, 0))
{%- endmacro %}

{#
    The bound of a total of unsampled and sampled rows, each with its variance. Each part has its own bounds, because
    common bounds would hide the skewness of few heavy rows among many light ones. The distances from the estimates
    add up as squares (MOVER, Zou and Donner 2008). With an unsampled variance of 0, as for sampling, the bound is
    never below the unsampled part.
#}
{% macro total_bound(bound, unsampled, unsampled_variance, sampled, sampled_variance) -%}
    {{ unsampled }} + {{ sampled }} {{ {"lower": "-", "upper": "+"}[bound] }} sqrt(
        power({{ unsampled }} - {{ sum_bound(bound, unsampled, unsampled_variance) }}, 2)
        + power({{ sampled }} - {{ sum_bound(bound, sampled, sampled_variance) }}, 2)
    )
{%- endmacro %}

{#
    The bound of a ratio of two totals, from the bounds of both: their distances on the log scale add up as squares
    (Donner and Zou 2012). If each total has one part, this is V(R) / R² = V(G) / G² + V(A) / A². It omits the
    covariance, which is unknown; it would make the variance smaller, because both are events of the same pages. If
    the numerator has no row, its upper bound is that of a Poisson mean with no observed event: -ln 0.025.
#}
{% macro ratio_bound(bound, numerator, numerator_bound, denominator, denominator_bound) -%}
    case
        when {{ numerator }} > 0
            then {{ numerator }} / {{ denominator }} * exp({{ {"lower": "-", "upper": ""}[bound] }}sqrt(
                power(ln({{ numerator_bound }} / {{ numerator }}), 2)
                + power(ln({{ denominator_bound }} / {{ denominator }}), 2)
            ))
        when {{ denominator_bound }} <> {{ denominator }}
            then {{ {"lower": 0, "upper": "-ln(0.025)"}[bound] }} / {{ denominator }}
        else 0 / {{ denominator }}
    end
{%- endmacro %}

{#
    The bound of a share: Wilson (1927) with the effective number of rows. This number is null if nothing is
    uncertain; the share is then its own bound. Near 0 and 1 Wilson's bound is too close to the share, so the bound of
    a Poisson variable is used (Brown, Cai and DasGupta 2001). greatest and least include the share, so that rounding
    cannot move a bound past it.
#}
{% macro share_bound(bound, share, n_effective) -%}
    case
        when {{ n_effective }} > 0
            then
                {%- if bound == "lower" %}
                greatest(0, least(
                    {{ share }},
                    {{ wilson_bound(bound, share, n_effective) }},
                    {{ rare_share_bound(share, n_effective) }}
                ))
                {%- else %}
                least(1, greatest(
                    {{ share }},
                    {{ wilson_bound(bound, share, n_effective) }},
                    1 - {{ rare_share_bound("(1 - " ~ share ~ ")", n_effective) }}
                ))
                {%- endif %}
        else {{ share }}
    end
{%- endmacro %}

{% macro wilson_bound(bound, share, n_effective) -%}
    (
        {{ share }} + power({{ z() }}, 2) / (2 * {{ n_effective }})
        + {{ signed_z(bound) }} * sqrt(
            {{ share }} * (1 - {{ share }}) / {{ n_effective }} + power({{ z() }} / (2 * {{ n_effective }}), 2)
        )
    ) / (1 + power({{ z() }}, 2) / {{ n_effective }})
{%- endmacro %}

{#
    The lower bound of a share of fewer than 3 effective rows, otherwise null: the 5% quantile of the gamma
    distribution, by the approximation of Wilson and Hilferty (1931).
#}
{% macro rare_share_bound(share, n_effective) -%}
    case
        when {{ share }} > 0 and {{ share }} * {{ n_effective }} < 3
            then {{ share }} * power(greatest(
                0, 1 - 1 / (9 * {{ share }} * {{ n_effective }}) - 1.6448536269514722 / (3 * sqrt({{ share }} * {{ n_effective }}))
            ), 3)
    end
{%- endmacro %}

{#
    The bound of a mean of nonnegative values, on the log scale, with the variance of the weighted residuals. For
    values as skewed as durations it needs a thousand rows.
#}
{% macro mean_bound(bound, mean, variance) -%}
    case
        when {{ mean }} > 0 then {{ mean }} * exp({{ signed_z(bound) }} * sqrt({{ variance }}) / {{ mean }})
        else {{ mean }}
    end
{%- endmacro %}

{#
    The number of events with which a country is observed with 95% probability, if each event is kept with probability
    p.
#}
{% macro detectable_at_95(rate) -%}
    case when {{ rate }} < 1 then ln(0.05) / ln(1 - {{ rate }}) else {{ rate }} end
{%- endmacro %}

{#
    The inputs for the bounds of totals, one row per key and extrapolation. Over several types the variance is the
    upper bound (Σ √V)²: the events of a page share one draw, so the sums of the types may be correlated. `strata` is
    a relation made by the macro strata(). The type numeric makes sums independent of their order.
#}
{% macro total_moments(strata, keys) -%}
    select
        {{ keys | join(", ") }},
        extrapolation,
        sum(n)::bigint as n,
        sum(n_sampled)::bigint as n_sampled,
        sum(n_rate_unknown)::bigint as n_rate_unknown,
        sum(total)::double precision as total,
        sum(total - sampled)::double precision as unsampled,
        sum(sampled)::double precision as sampled,
        power(sum(sqrt(sampling_variance)), 2)::double precision as sampling_variance,
        power(sum(sqrt(process_variance_sampled)), 2)::double precision as process_variance_sampled,
        power(sum(sqrt(process_variance_unsampled)), 2)::double precision as process_variance_unsampled,
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
            coalesce(sum(squares) filter (where sampling_rate < 1), 0) as process_variance_sampled,
            coalesce(sum(squares) filter (where sampling_rate = 1), 0) as process_variance_unsampled
        from {{ strata }}
        group by {{ keys | join(", ") }}, extrapolation, event_type
    ) as types
    group by {{ keys | join(", ") }}, extrapolation
{%- endmacro %}

{#
    The inputs for the bounds of shares, one row per key and extrapolation. is_yes of the strata marks the rows in the
    share. The variance is that of the residuals, Σ f (y - share)² / (Σ w)², with y smoothed within each rate to (yes
    + 1) / (rows + 2): otherwise the variance would be too small whenever none of the few rows of a low rate has a
    rare y. Over several types it is the same upper bound as for totals. For a share of 0 or 1 the effective number of
    rows is (Σ w)² / Σ f.
#}
{% macro share_moments(strata, keys) -%}
    {% set by = keys | join(", ") %}
    -- 1. One row per type and rate.
    with cells as (

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

    ),

    -- 2. The share over all rows, and the smoothed share within the rate.
    cells_with_shares as (

        select
            *,
            sum(weight_yes) over (partition by {{ by }}, extrapolation)
            / sum(weight) over (partition by {{ by }}, extrapolation) as share_of_all,
            (sum(n_yes) over (partition by {{ by }}, extrapolation, sampling_rate) + 1)
            / (sum(n) over (partition by {{ by }}, extrapolation, sampling_rate) + 2) as smoothed
        from cells

    ),

    -- 3. (y - share)², as the mean over the rows in the share and those outside it.
    cells_with_residuals as (

        select
            *,
            smoothed * power(1 - share_of_all, 2) + (1 - smoothed) * power(share_of_all, 2) as residual
        from cells_with_shares

    ),

    -- 4. The sums of each type, including Σ f and Σ f (y - share)² for both intervals.
    types as (

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
        from cells_with_residuals
        group by {{ by }}, extrapolation, event_type

    ),

    -- 5. Over all types, (Σ √V)².
    sums as (

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
        from types
        group by {{ by }}, extrapolation

    )

    select
        *,
        {{ effective_rows("sampling_residuals", "sampling_squares") }} as sampling_n_effective,
        {{ effective_rows("process_residuals", "process_squares") }} as process_n_effective
    from sums
{%- endmacro %}

{#
    The number of unweighted rows with the same variance: share (1 - share) / n = Σ f (y - share)² / (Σ w)², solved
    for n.
#}
{% macro effective_rows(residuals, squares) -%}
    case
        when share > 0 and share < 1 then share * (1 - share) * power(total, 2) / nullif({{ residuals }}, 0)
        else power(total, 2) / nullif({{ squares }}, 0)
    end
{%- endmacro %}

{#
    The bound of the difference of two independent estimates, a - b, each given by its estimate and its two bounds. Their
    distances from the bounds on the facing sides add up as squares (MOVER, Zou and Donner 2008; for two shares with
    Wilson's bounds it is Newcombe's interval of 1998).
#}
{% macro difference_bound(bound, a, b) -%}
    {%- set facing = {"lower": (a[1], b[2]), "upper": (a[2], b[1])}[bound] -%}
    {{ a[0] }} - {{ b[0] }} {{ {"lower": "-", "upper": "+"}[bound] }} sqrt(
        power({{ a[0] }} - {{ facing[0] }}, 2) + power({{ b[0] }} - {{ facing[1] }}, 2)
    )
{%- endmacro %}

{#
    The factor, in standard deviations, by which that interval would have to be widened or narrowed to end at 0.
    erfc(factor / sqrt(2)) is the two-sided p-value.
#}
{% macro difference_deviations(a, b) -%}
    case
        when {{ a[0] }} > {{ b[0] }}
            then {{ z() }} * ({{ a[0] }} - {{ b[0] }}) / sqrt(power({{ a[0] }} - {{ a[1] }}, 2) + power({{ b[0] }} - {{ b[2] }}, 2))
        when {{ a[0] }} < {{ b[0] }}
            then {{ z() }} * ({{ b[0] }} - {{ a[0] }}) / sqrt(power({{ a[0] }} - {{ a[2] }}, 2) + power({{ b[0] }} - {{ b[1] }}, 2))
        else 0
    end
{%- endmacro %}
