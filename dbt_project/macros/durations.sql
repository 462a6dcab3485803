{#
    The weight of a duration: 1 / p, and of a placebo the sixth part of it taken away, for there are six shifts; both six
    times, which changes nothing and keeps them exact. numeric keeps sums independent of their order.
#}
{% macro duration_weight() -%}
    case when is_placebo then -1.0 else 6.0 end / sampling_rate::numeric
{%- endmacro %}

{#
    The quantile of a value whose rows carry a weight, at a target that is this part of all their weight, from rows that
    have weight_until, the sum of weights up to and including the row. Where two values share the place, the middle
    between them, so that with equal weights the median is the usual one.
#}
{% macro weighted_quantile(value, target) -%}
    (
        min({{ value }}) filter (where weight_until >= {{ target }})
        + min({{ value }}) filter (where weight_until > {{ target }})
    ) / 2
{%- endmacro %}

{#
    The bound of a median (Woodruff 1952): the value at a target that is the bound of the share of one half, of as many
    rows as would be as uncertain; from rows that have also weight_before, the sum of weights of lower values. Unlike the
    bounds of a mean it holds for any distribution.
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
