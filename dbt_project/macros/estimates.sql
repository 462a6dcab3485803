{#
    The steps from daily sums to the published columns, which are the same for each mart: strata (sums by type and
    rate, one row per extrapolation) → moments and bounds (intervals.sql) → published (null where a rule withholds a
    value) → the estimates under the chosen extrapolation next to those under inverse_rate.
#}

{#
    The sums of a daily relation by keys, type and sampling rate p, one row for each of the extrapolations: the sums of
    w, w² and w² p over the weights w.
#}
{% macro strata(daily, keys, extrapolations) -%}
    select
        {{ keys | join(", ") }},
        event_type,
        rate as sampling_rate,
        n,
        n_rate_unknown,
        weights.extrapolation,
        weights.weight,
        weights.squares,
        weights.squares_rate
    from (
        select
            {{ keys | join(", ") }},
            event_type,
            sampling_rate::numeric as rate,
            sum(n) as n,
            sum(n_rate_unknown) as n_rate_unknown,
            sum(count_sum) as count_sum,
            sum(count_sum_squares) as count_sum_squares
        from {{ daily }}
        where n > 0
        group by {{ keys | join(", ") }}, event_type, sampling_rate
    ) as sums
    cross join lateral (
        values
        {%- for extrapolation in extrapolations %}
        {{ {
            "count_over_rate": "('count_over_rate', count_sum / rate, count_sum_squares / (rate * rate), count_sum_squares / rate)",
            "inverse_rate": "('inverse_rate', n / rate, n / (rate * rate), n / rate)",
            "count": "('count', count_sum, count_sum_squares, count_sum_squares * rate)",
        }[extrapolation] }}{{ "," if not loop.last }}
        {%- endfor %}
    ) as weights (extrapolation, weight, squares, squares_rate)
{%- endmacro %}

{# How to read a company's COUNT, from its sampled rows; see int_company_weighting. #}
{% macro weighting(n_sampled, n_evidence, n_inverse) -%}
    case
        when {{ n_sampled }} = 0 then 'census'
        when {{ n_evidence }} < 30 then 'undetermined'
        when {{ n_inverse }} >= 0.9 * {{ n_evidence }} then 'count_already_extrapolated'
        else 'count_per_row'
    end
{%- endmacro %}

{#
    The reason why an estimate or an interval is not published; null if both are. `missing` is the reason why there is
    no estimate. n_least is the number of rows of the smaller part of a ratio, otherwise n.
#}
{% macro null_because() -%}
    case
        when estimate is null then missing
        -- COUNT / RATE with a COUNT of round(1 / RATE) squares the weights of sampled rows.
        when extrapolation = 'count_over_rate' and weighting = 'count_already_extrapolated' and n_sampled > 0
            then 'count_already_extrapolated'
        -- COUNT alone does not account for the rows lost by sampling, unless COUNT is extrapolated.
        when extrapolation = 'count' and weighting <> 'count_already_extrapolated' and n_sampled > 0
            then 'not_extrapolated'
        when n_rate_unknown > 0.01 * n then 'rate_unknown'
        when n_sampled between 1 and 4 then 'few_sampled_rows'
        -- For the process each row is a draw, so the minimum applies to unsampled rows, too.
        when n_least < 5 then 'few_rows'
    end
{%- endmacro %}

{#
    The published columns of a relation with the columns extrapolation, weighting (both are kept), n, n_least,
    n_sampled, n_rate_unknown, estimate, missing, the four bounds and conservative. `also` lists further columns to
    keep.
#}
{% macro published(relation, keys, also=[]) -%}
    select
        {{ (keys + also) | join(", ") }},
        extrapolation,
        weighting,
        n,
        n_sampled,
        estimate,
        case when coalesce(null_because, 'few_rows') = 'few_rows' then sampling_lower end as sampling_lower,
        case when coalesce(null_because, 'few_rows') = 'few_rows' then sampling_upper end as sampling_upper,
        case when null_because is null then process_lower end as process_lower,
        case when null_because is null then process_upper end as process_upper,
        null_because,
        n_sampled between 1 and 29 as is_low_sample,
        n > 0 and n_sampled = 0 as is_census,
        conservative as is_conservative
    from (
        select
            *,
            {{ null_because() }} as null_because
        from {{ relation }}
    ) as with_reason
{%- endmacro %}

{#
    The published estimates under the chosen extrapolation, next to those under inverse_rate and the recommended ones.
    The relation has the column weighting.
#}
{% macro join_extrapolations(published, keys) -%}
    select
        chosen.*,
        inverse_rate.estimate as estimate_inverse_rate,
        inverse_rate.sampling_lower as inverse_rate_sampling_lower,
        inverse_rate.sampling_upper as inverse_rate_sampling_upper,
        inverse_rate.process_lower as inverse_rate_process_lower,
        inverse_rate.process_upper as inverse_rate_process_upper,
        inverse_rate.null_because as inverse_rate_null_because,
        recommended.extrapolation as recommended_extrapolation,
        recommended.estimate as recommended_estimate,
        recommended.sampling_lower as recommended_sampling_lower,
        recommended.sampling_upper as recommended_sampling_upper,
        recommended.process_lower as recommended_process_lower,
        recommended.process_upper as recommended_process_upper,
        recommended.null_because as recommended_null_because
    from {{ published }} as chosen
    inner join {{ published }} as inverse_rate using ({{ keys | join(", ") }})
    inner join {{ published }} as recommended using ({{ keys | join(", ") }})
    where
        chosen.extrapolation = '{{ chosen_extrapolation() }}'
        and inverse_rate.extrapolation = 'inverse_rate'
        and recommended.extrapolation = {{ recommended_extrapolation("recommended.weighting") }}
{%- endmacro %}

{# The columns of a relation made by published(), in the order of the marts. #}
{% macro estimate_columns(relation) -%}
    {{ relation }}.n_sampled,
    {{ relation }}.estimate,
    {{ relation }}.sampling_lower,
    {{ relation }}.sampling_upper,
    {{ relation }}.process_lower,
    {{ relation }}.process_upper,
    {{ relation }}.null_because,
    {{ relation }}.is_low_sample,
    {{ relation }}.is_census,
    {{ relation }}.is_conservative
{%- endmacro %}

{# The columns that join_extrapolations() adds. #}
{% macro other_estimate_columns(relation) -%}
    {{ relation }}.estimate_inverse_rate,
    {{ relation }}.inverse_rate_sampling_lower,
    {{ relation }}.inverse_rate_sampling_upper,
    {{ relation }}.inverse_rate_process_lower,
    {{ relation }}.inverse_rate_process_upper,
    {{ relation }}.inverse_rate_null_because,
    {{ relation }}.recommended_extrapolation,
    {{ relation }}.recommended_estimate,
    {{ relation }}.recommended_sampling_lower,
    {{ relation }}.recommended_sampling_upper,
    {{ relation }}.recommended_process_lower,
    {{ relation }}.recommended_process_upper,
    {{ relation }}.recommended_null_because
{%- endmacro %}

{# The columns of both macros for a mart with one row per company; the column names begin with the metric. #}
{% macro metric_columns(relation, metric) -%}
    {{ relation }}.estimate as {{ metric }},
    {%- for column in [
        "sampling_lower", "sampling_upper", "process_lower", "process_upper", "null_because", "is_low_sample", "is_census", "is_conservative"
    ] %}
    {{ relation }}.{{ column }} as {{ metric }}_{{ column }},
    {%- endfor %}
    {{ relation }}.estimate_inverse_rate as {{ metric }}_inverse_rate,
    {%- for column in ["sampling_lower", "sampling_upper", "process_lower", "process_upper", "null_because"] %}
    {{ relation }}.inverse_rate_{{ column }} as {{ metric }}_inverse_rate_{{ column }}{{ "," if not loop.last }}
    {%- endfor %}
{%- endmacro %}

{# The recommended estimate of one metric for a mart with one row per company. #}
{% macro recommended_columns(relation, metric) -%}
    {{ relation }}.recommended_estimate as recommended_{{ metric }},
    {%- for column in ["sampling_lower", "sampling_upper", "process_lower", "process_upper", "null_because"] %}
    {{ relation }}.recommended_{{ column }} as recommended_{{ metric }}_{{ column }}{{ "," if not loop.last }}
    {%- endfor %}
{%- endmacro %}

{# The four bounds of totals, from total_moments(). #}
{% macro total_bounds() -%}
    {%- set n_unsampled = "(n - n_sampled)" %}
    {%- for bound in ["lower", "upper"] %}
    {{ total_bound(
        bound, "unsampled", 0, "sampled", small_sum_variance("sampling_variance", "n_sampled")
    ) }} as sampling_{{ bound }},
    {%- endfor %}
    {%- for bound in ["lower", "upper"] %}
    {{ total_bound(
        bound,
        "unsampled",
        small_sum_variance("process_variance_unsampled", n_unsampled),
        "sampled",
        small_sum_variance("process_variance_sampled", "n_sampled")
    ) }} as process_{{ bound }}{{ "," if not loop.last }}
    {%- endfor %}
{%- endmacro %}

{# The four bounds of shares, from share_moments(). #}
{% macro share_bounds() -%}
    {{ share_bound("lower", "share", "sampling_n_effective") }} as sampling_lower,
    {{ share_bound("upper", "share", "sampling_n_effective") }} as sampling_upper,
    {{ share_bound("lower", "share", "process_n_effective") }} as process_lower,
    {{ share_bound("upper", "share", "process_n_effective") }} as process_upper
{%- endmacro %}

{# The four bounds of a ratio, from totals with their bounds in relations named numerator and denominator. #}
{% macro ratio_bounds() -%}
    {%- for interval in ["sampling", "process"] %}
    {%- for bound, other in [("lower", "upper"), ("upper", "lower")] %}
    {{ ratio_bound(
        bound,
        "coalesce(numerator.estimate, 0)",
        "numerator." ~ interval ~ "_" ~ bound,
        "denominator.estimate",
        "denominator." ~ interval ~ "_" ~ other
    ) }} as {{ interval }}_{{ bound }}{{ "," if not loop.last }}
    {%- endfor %}{{ "," if not loop.last }}
    {%- endfor %}
{%- endmacro %}

{#
    Planner settings for a model that joins sums of sums. Postgres underestimates the rows of such sums. It would choose
    nested loops, or merge joins on the first key alone, whose time is quadratic.
#}
{% macro set_planner_options() -%}
    set local enable_nestloop = off;
    set local enable_mergejoin = off
{%- endmacro %}
