{# No two rows have the same values in these columns, and no row lacks one of them, except those in `nullable`. #}
{% test unique_combination(model, columns, nullable=[]) %}

    {% set all = (columns + nullable) | join(", ") %}
    select
        {{ all }},
        count(*) as n_rows
    from {{ model }}
    group by {{ all }}
    having count(*) > 1 or num_nulls({{ columns | join(", ") }}) > 0

{% endtest %}
