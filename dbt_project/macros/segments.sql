{#
    The least number of effective rows with which a segment is published. With fewer, an interval covers half of the
    scale and its coverage is below 94% (docs/statistics.md); in a list of many segments the extreme ones would be those
    with the fewest rows.
#}
{% macro least_effective_rows() -%}
    10
{%- endmacro %}

{#
    The number of unweighted rows whose sum has the same relative variance (Kish 1965). Rounded, so that ten equal rows
    are not fewer than ten.
#}
{% macro kish_rows(weight, squares) -%}
    round((power({{ weight }}, 2) / {{ squares }})::numeric, 6)::double precision
{%- endmacro %}

{# The value that all rows have; null if they differ or one has none. #}
{% macro common_value(column) -%}
    case when min({{ column }}) = max({{ column }}) and count(*) = count({{ column }}) then min({{ column }}) end
{%- endmacro %}

{#
    The complementary error function of a number that is not negative, with a relative error below 1.2e-7 (Press et al.
    1992, Numerical Recipes, erfcc; Postgres has erfc from version 16 on).
#}
{% macro erfc(x) -%}
    {% set t = "(1 / (1 + 0.5 * (" ~ x ~ ")))" -%}
    {{ t }} * exp(
        -power({{ x }}, 2) - 1.26551223 + {{ t }} * (1.00002368 + {{ t }} * (0.37409196 + {{ t }} * (0.09678418
        + {{ t }} * (-0.18628806 + {{ t }} * (0.27886807 + {{ t }} * (-1.13520398 + {{ t }} * (1.48851587
        + {{ t }} * (-0.82215223 + {{ t }} * 0.17087277))))))))
    )
{%- endmacro %}

{#
    The probability that a chi-square variable with df degrees of freedom is above x. For whole df it is a finite sum:
    exp(-x/2) Σ (x/2)^j / Γ(j+1) over whole j (even df) or half j (odd df, after erfc(√(x/2))).
#}
{% macro chi_square_tail(x, df) -%}
    case when {{ df }} % 2 = 1 then {{ erfc("sqrt(" ~ x ~ " / 2)") }} else exp(-{{ x }} / 2) end + coalesce((
        select sum(exp(terms.logarithm + (terms.j - {{ df }} % 2 / 2.0) * ln({{ x }} / 2) - {{ x }} / 2))
        from (
            select
                j,
                -- -ln Γ(j + 1), or of half a number less: Γ(1) = 1, Γ(1/2) = √π.
                -sum(ln(j - {{ df }} % 2 / 2.0)) over (order by j) - {{ df }} % 2 * ln(pi()) / 2 as logarithm
            from generate_series(1, ({{ df }} - 1) / 2) as j
        ) as terms
        where {{ x }} > 0
    ), 0)
{%- endmacro %}
