{# No two rows have the same values in these columns, and no row lacks one of them, except those in `nullable`. #}
{% test unique_combination(model, columns, nullable=[]) %}

    select
        {{ (columns + nullable) | join(", ") }},
        count(*) as n_rows
    from {{ model }}
    group by {{ (columns + nullable) | join(", ") }}
    having count(*) > 1 or num_nulls({{ columns | join(", ") }}) > 0

{% endtest %}
