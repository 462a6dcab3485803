{# No two rows have the same values in these columns, and no row lacks one of them. #}
{% test unique_combination(model, columns) %}

    select
        {{ columns | join(", ") }},
        count(*) as n_rows
    from {{ model }}
    group by {{ columns | join(", ") }}
    having count(*) > 1 or num_nulls({{ columns | join(", ") }}) > 0

{% endtest %}
