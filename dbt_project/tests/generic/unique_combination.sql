{#
    No two rows have the same values in these columns, and no row lacks one of them, except those in `nullable`. With
    by_day, the model is incremental by company day, and only the days of the loads to test are checked.
#}
{% test unique_combination(model, columns, nullable=[], by_day=false) %}

    select
        {{ (columns + nullable) | join(", ") }},
        count(*) as n_rows
    from {{ model }}
    where {{ is_on_day_to_test(days_to_test()) if by_day else "true" }}
    group by {{ (columns + nullable) | join(", ") }}
    having count(*) > 1 or num_nulls({{ columns | join(", ") }}) > 0

{% endtest %}
