{#
    The number of purposes, and of vendors, that are published of a company, and of all companies together, for each basis. A
    notice may list a thousand vendors; each of them is a row of the marts, under each scope.
#}
{% macro most_ids() -%}
    50
{%- endmacro %}

{# The ids of a relation with the columns id and n, ranked by their rows within the keys. n_ids is how many there are. #}
{% macro ranked_ids(relation, keys) -%}
    select
        {{ keys | join(", ") }},
        id,
        row_number() over (partition by {{ keys | join(", ") }} order by sum(n) desc, id collate "C") as place,
        count(*) over (partition by {{ keys | join(", ") }}) as n_ids
    from {{ relation }}
    group by {{ keys | join(", ") }}, id
{%- endmacro %}

{# Before the body of int_choice_sets: deletes the sets of rows that are gone. #}
{% macro delete_unused_choice_sets() -%}
    {% if is_incremental() and not flags.EMPTY %}
        delete from {{ this }} where choice_set not in (select daily.choice_set from {{ ref("int_daily__choices") }} as daily)
    {% endif %}
{%- endmacro %}

{# Whether an entry of a JSON list is an id: a number, or a string that is not empty. #}
{% macro is_id(entry) -%}
    ascii({{ entry }}::text) between ascii('-') and ascii('9') or (ascii({{ entry }}::text) = ascii('"') and {{ entry }}::text <> '""')
{%- endmacro %}

{# The text of such an entry. A string without an escape sequence is its own text, which is found faster than by parsing it. #}
{% macro text_of_id(entry) -%}
    case
        when ascii({{ entry }}::text) = ascii('"') and strpos({{ entry }}::text, chr(92)) = 0
            then substr({{ entry }}::text, 2, length({{ entry }}::text) - 2)
        else {{ entry }} #>> '{}'
    end
{%- endmacro %}
