{#
    The recommended estimates of each company, and of all companies together, from rows such as those of
    int_daily__events: the published columns of metrics_of_events(). `companies` has the columns api_key and weighting
    of each company. `periods`, if given, has the columns `keys`, and so has `daily`: everything is computed for each of
    its rows. Where the condition `each_company` is false, only all companies together have estimates.
#}
{% macro recommended_estimates(daily, companies, metrics, least_effective=none, periods=none, keys=[], each_company=none) -%}
    with company_strata as (
        {{ strata(daily, ["api_key"] + keys + ["consent_status", "action_class"], ["count_over_rate", "inverse_rate"]) | indent(8) }}
    ),

    recommended_strata as (
        select company_strata.*
        from company_strata
        inner join {{ companies }} as companies on company_strata.api_key = companies.api_key
        where company_strata.extrapolation = {{ recommended_extrapolation("companies.weighting") }}
    ),

    subject_strata as (
        select * from recommended_strata
        {%- if each_company %}
        where {{ each_company }}
        {%- endif %}
        union all
        select
            {{ all_companies() }} as api_key,
            {%- for column in keys + [
                "consent_status", "action_class", "event_type", "sampling_rate", "n", "n_rate_unknown"
            ] %}
            {{ column }},
            {%- endfor %}
            'recommended' as extrapolation,
            weight,
            squares,
            squares_rate
        from recommended_strata
    ),

    scoped as (
        {{ in_scopes("subject_strata") | indent(8) }}
    ),

    -- The recommended extrapolation of a company never squares its weights, so weighting needs no check.
    subjects as (
        select
            companies.api_key,
            scopes.scope,
            {%- for key in keys %}
            periods.{{ key }},
            {%- endfor %}
            companies.extrapolation,
            'recommended' as weighting
        from (
            select
                api_key,
                {{ recommended_extrapolation() }} as extrapolation
            from {{ companies }} as weighted
            {%- if each_company %}
            where {{ each_company }}
            {%- endif %}
            union all
            select
                {{ all_companies() }} as api_key,
                'recommended' as extrapolation
        ) as companies
        cross join unnest(array['all', 'notice']) as scopes (scope)
        {%- if periods %}
        cross join {{ periods }} as periods
        {%- endif %}
    ),

    estimates as (
        {{ metric_estimates("scoped", "subjects", ["api_key", "scope"] + keys, metrics, least_effective) | indent(8) }}
    ),

    published as (
        {{ published(
            "estimates",
            ["api_key", "scope"] + keys + ["metric"],
            ["form", "numerator", "denominator", "n_numerator", "n_denominator"] + (["n_effective"] if least_effective else [])
        ) | indent(8) }}
    )

    select
        *,
        form = 'ratio' and coalesce(estimate > 1, false) as is_above_one
    from published
{%- endmacro %}

{# The dimensions by which consent_rates() filters. A notice's position depends on all days, so it is none of them. #}
{% macro period_dimensions() %}
    {{ return(dimensions_of("consent_segments")) }}
{% endmacro %}

{#
    Creates the function consent_rates(), which computes the rates of any period as the marts compute those of all days.
    Roles that may read the marts may call it; it reads the private tables with the rights of its owner.

    A transaction with an old snapshot would see no rows in a table that a build has replaced since, so the function
    fails if it does not see the tables that it has read.
#}
{% macro create_consent_rates() -%}
    {%- set name = in_target_schema("consent_rates").include(database=False) %}
    {%- set arguments = "(date, date, text, text, uuid[], boolean)" %}
    {%- set tables = {} %}
    {%- for model in ["int_companies", "int_company_weighting", "int_daily__events", "int_daily__dimensions"] %}
        {%- do tables.update({model: ref(model).include(database=False).render()}) %}
    {%- endfor %}
    {%- set readers = (config.get("grants") or {}).get("select", []) %}
    {%- set readers = [readers] if readers is string else readers %}
    do $create$
    declare
        is_new constant boolean := to_regprocedure('{{ (name ~ arguments) | replace("'", "''") }}') is null;
    begin
    create or replace function {{ name }}(
        first_day date, last_day date, dimension text default null, value text default null, companies uuid[] default null,
        each_company boolean default true
    )
    returns table (
        api_key uuid,
        scope text,
        metric text,
        n_numerator bigint,
        n_denominator bigint,
        n_effective double precision,
        n bigint,
        n_sampled bigint,
        numerator double precision,
        denominator double precision,
        extrapolation text,
        estimate double precision,
        sampling_lower double precision,
        sampling_upper double precision,
        process_lower double precision,
        process_upper double precision,
        null_because text,
        is_low_sample boolean,
        is_census boolean,
        is_conservative boolean,
        is_above_one boolean
    )
    language plpgsql
    stable
    security definer
    set search_path = pg_catalog, pg_temp
    set jit = off
    set enable_nestloop = off
    set enable_mergejoin = off
    as $function$
    #variable_conflict use_column
    declare
        dimensions constant text[] := array['{{ period_dimensions() | join("', '") }}'];
    begin
        if $1 > $2 then
            raise exception 'The first day, %, is after the last day, %.', $1, $2 using errcode = 'invalid_parameter_value';
        elsif ($3 is null) <> ($4 is null) then
            raise exception 'Only one of dimension and value is given.' using errcode = 'invalid_parameter_value';
        elsif $3 <> all (dimensions) then
            raise exception 'There are no rates by day and "%".', $3
                using errcode = 'invalid_parameter_value', hint = 'The dimensions are ' || array_to_string(dimensions, ', ') || '.';
        end if;

        return query
        with named as (
            select
                companies.api_key,
                company_weighting.weighting
            from {{ tables["int_companies"] }} as companies
            inner join {{ tables["int_company_weighting"] }} as company_weighting
                on companies.api_key = company_weighting.api_key
            where $5 is null or companies.api_key = any($5)
        ),

        daily as (
            {%- for model in ["int_daily__events", "int_daily__dimensions"] %}
            select
                api_key, event_type, consent_status, action_class, sampling_rate, n, n_rate_unknown, count_sum,
                count_sum_squares
            from {{ tables[model] }}
            where
                day >= coalesce($1, '-infinity') and day <= coalesce($2, 'infinity')
                and ($5 is null or api_key = any($5))
                {%- if model == "int_daily__events" %}
                and $3 is null
            union all
                {%- else %}
                and dimension = $3 and value = $4 and {{ is_prompt_or_consent() }}
                {%- endif %}
            {%- endfor %}
        ),

        estimates as (
            {{ recommended_estimates(
                "daily",
                "named",
                metrics_of_events() | list,
                "(case when $3 is null then 0 else " ~ least_effective_rows() ~ " end)",
                each_company="$6"
            ) | indent(12) }}
        )

        select
            nullif(api_key, {{ all_companies() }}),
            scope,
            metric,
            n_numerator,
            n_denominator,
            n_effective,
            n,
            n_sampled,
            numerator,
            denominator,
            extrapolation,
            estimate,
            sampling_lower,
            sampling_upper,
            process_lower,
            process_upper,
            null_because,
            is_low_sample,
            is_census,
            is_conservative,
            is_above_one
        from estimates
        -- The daily sums by dimension that are read here are of prompts and consents only.
        where $3 is null or metric <> 'volume';

        if (
            select count(*) from pg_class
            where oid in (
                {%- for table in tables.values() %}
                to_regclass('{{ table | replace("'", "''") }}'){{ "," if not loop.last }}
                {%- endfor %}
            )
        ) < {{ tables | length }} then
            raise exception 'could not serialize access: a build replaced the tables after this transaction began'
                using errcode = 'serialization_failure', hint = 'Begin another transaction.';
        end if;
    end
    $function$;
    if is_new then
        revoke all on function {{ name }}{{ arguments }} from public;
    end if;
    {%- for reader in readers %}
    grant execute on function {{ name }}{{ arguments }} to "{{ reader | replace('"', '""') }}";
    {%- endfor %}
    comment on function {{ name }}{{ arguments }} is
        'The recommended rates and totals of each company, and of all together (api_key is null), over the UTC days from first_day to last_day: of all events, or of those with one value of a dimension. A null day is no limit.';
    end
    $create$
{%- endmacro %}

{# The columns of both marts of changes. #}
{% macro change_columns(relation) -%}
    {{ relation }}.scope,
    {{ relation }}.metric as rate,
    {%- for column in [
        "days", "first_day", "last_day", "previous_first_day", "previous_last_day", "n_days", "previous_n_days", "n", "estimate",
        "process_lower", "process_upper", "previous_n", "previous_estimate", "previous_process_lower", "previous_process_upper",
        "difference", "difference_lower", "difference_upper", "p_value", "n_comparisons"
    ] %}
    {{ relation }}.{{ column }},
    {%- endfor %}
    -- Bonferroni: of many comparisons without a difference, some have a small p-value by chance.
    coalesce({{ relation }}.p_value * {{ relation }}.n_comparisons < 0.05, false) as is_clear,
    {{ relation }}.null_because
{%- endmacro %}
