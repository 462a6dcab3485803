{#
    The weight of a duration: 1 / p, and for a placebo minus one sixth of that, because there are six shifts. Both are
    multiplied by six, which does not change the results and keeps the weights exact. The type numeric makes sums
    independent of their order.
#}
{% macro duration_weight(is_placebo="is_placebo", sampling_rate="sampling_rate") -%}
    case when {{ is_placebo }} then -1.0 else 6.0 end / ({{ sampling_rate }})::numeric
{%- endmacro %}

{#
    The class of a duration, named by its upper end, which it includes. The fewer durations there are, the wider is a
    class, so that there are few classes, and few durations share the class of a quantile. Every limit of the marts is the
    end of a class. A negative duration has class -1.
#}
{% macro duration_class() -%}
    case
        when seconds < 0 then -1
        when seconds <= 10 then ceil(seconds * 4) / 4
        when seconds <= 60 then ceil(seconds)
        when seconds <= 1800 then ceil(seconds / 60) * 60
        when seconds <= 7200 then 7200
        else 'infinity'
    end::double precision
{%- endmacro %}

{#
    The weighted quantile of a value. The target is the quantile's part of the total weight; rows have weight_until,
    the sum of weights up to and including the row. If the target falls between two values, the result is their
    midpoint, so that with equal weights the median is the usual one.
#}
{% macro weighted_quantile(value, target) -%}
    (
        min({{ value }}) filter (where weight_until >= {{ target }})
        + min({{ value }}) filter (where weight_until > {{ target }})
    ) / 2
{%- endmacro %}

{#
    The bound of a median (Woodruff 1952): the value at the target, which is the bound of the share 0.5 with the
    effective number of rows. Rows also have weight_before, the sum of weights of lower values. Unlike the bounds of a
    mean it is valid for any distribution.
#}
{% macro median_bound(bound, value, target) -%}
    {%- if bound == "lower" -%}
    coalesce(max({{ value }}) filter (where weight_until <= {{ target }}), min({{ value }}))
    {%- else -%}
    coalesce(min({{ value }}) filter (where weight_before >= {{ target }}), max({{ value }}))
    {%- endif %}
{%- endmacro %}

{# The four bounds of a mean, from a relation with mean_seconds, its variances and mean_null_because. #}
{% macro mean_bounds(relation) -%}
    {%- for interval in ["sampling", "process"] %}
    {%- for bound in ["lower", "upper"] %}
    case
        when {{ relation }}.mean_null_because is null
            then {{ mean_bound(bound, relation ~ ".mean_seconds", relation ~ "." ~ interval ~ "_variance") }}
    end as mean_{{ interval }}_{{ bound }}{{ "," if not loop.last }}
    {%- endfor %}{{ "," if not loop.last }}
    {%- endfor %}
{%- endmacro %}
