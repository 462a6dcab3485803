{#
    The totals that rates are made of, each with the condition for the rows that are part of it. The rows have the column
    scope.
#}
{% macro totals_of_events() %}
    {{ return({
        "volume": "scope = 'all'",
        "asked": "event_type = 'consent.asked'",
        "given": "event_type = 'consent.given'",
        "choices": "event_type = 'consent.given' and " ~ is_choice(),
        "opt_ins": "event_type = 'consent.given' and " ~ is_opt_in(),
        "opt_outs": "event_type = 'consent.given' and " ~ is_opt_out(),
        "full_opt_ins": "event_type = 'consent.given' and consent_status = 'full opt-in'",
        "partial_opt_ins": "event_type = 'consent.given' and consent_status = 'partial opt-in'",
        "empty": "event_type = 'consent.given' and consent_status = 'empty'",
        "preferences_opened": opens_preferences(),
    }) }}
{% endmacro %}

{# The metrics by name, each with its numerator and denominator, which are totals, and its form. #}
{% macro metrics_of_events() %}
    {{ return({
        "volume": ("volume", none, "total"),
        "asked": ("asked", none, "total"),
        "given": ("given", none, "total"),
        "choices": ("choices", none, "total"),
        "opt_ins": ("opt_ins", none, "total"),
        "opt_outs": ("opt_outs", none, "total"),
        "preferences_opened": ("preferences_opened", none, "total"),
        "conversion": ("given", "asked", "ratio"),
        "choice_rate": ("choices", "asked", "ratio"),
        "opt_in_rate": ("opt_ins", "asked", "ratio"),
        "no_choice_rate": ("choices", "asked", "complement"),
        "preferences_rate": ("preferences_opened", "asked", "ratio"),
        "consent_rate": ("opt_ins", "choices", "share"),
        "opt_out_rate": ("opt_outs", "choices", "share"),
        "full_opt_in_share": ("full_opt_ins", "given", "share"),
        "partial_opt_in_share": ("partial_opt_ins", "given", "share"),
        "opt_out_share": ("opt_outs", "given", "share"),
        "empty_share": ("empty", "given", "share"),
    }) }}
{% endmacro %}

{# Each row of strata once for each scope that contains it. #}
{% macro in_scopes(strata) -%}
    select
        scopes.scope,
        strata.*
    from {{ strata }} as strata
    cross join unnest(array['all', 'notice']) as scopes (scope)
    where scopes.scope = 'all' or {{ is_notice() }}
{%- endmacro %}

{#
    The inputs of published() for some of metrics_of_events(). `scoped` is made by in_scopes(). `subjects` has the keys,
    one of which is scope, extrapolation and weighting of everything that has estimates, also without events. Each subject
    has a row for each metric; volume exists in the scope all only. With `least_effective`, an expression, a rate whose
    denominator has fewer effective rows is null.
#}
{% macro metric_estimates(scoped, subjects, keys, metrics, least_effective=none) -%}
    {%- set by = keys | join(", ") %}
    {%- set conditions = totals_of_events() %}
    {%- set definitions = metrics_of_events() %}
    {%- set totals, shares = [], [] %}
    {%- for metric in metrics %}
        {%- for total in definitions[metric][:2] if total and total not in totals %}{% do totals.append(total) %}{% endfor %}
        {%- if definitions[metric][2] == "share" %}{% do shares.append(metric) %}{% endif %}
    {%- endfor %}
    with metrics (metric, numerator, denominator, form) as (
        values
        {%- for metric in metrics %}
            {%- set numerator, denominator, form = definitions[metric] %}
            ('{{ metric }}', '{{ numerator }}', {{ "'" ~ denominator ~ "'" if denominator else "null" }}, '{{ form }}'){{ "," if not loop.last }}
        {%- endfor %}
    ),

    -- 1. A row of events counts for each total that it is part of.
    totalled as (
        select
            totals.total as metric,
            scoped.*
        from {{ scoped }} as scoped
        inner join lateral (
            values
            {%- for total in totals %}
                ('{{ total }}', {{ conditions[total] }}){{ "," if not loop.last }}
            {%- endfor %}
        ) as totals (total, is_part) on totals.is_part
    ),

    moments as (
        {{ total_moments("totalled", keys + ["metric"]) | indent(8) }}
    ),

    totals as (
        select
            {{ by }},
            metric,
            extrapolation,
            n,
            n_sampled,
            n_rate_unknown,
            total as estimate,
            process_variance_sampled + process_variance_unsampled as squares,
            {{ total_bounds() | indent(8) }},
            conservative
        from moments
    ),

    -- 2. It also counts for each share whose denominator contains it; is_yes is true if the numerator does, too.
    shared as (
        select
            shares.metric,
            shares.is_yes,
            scoped.*
        from {{ scoped }} as scoped
        inner join lateral (
            values
            {%- for metric in shares %}
                ('{{ metric }}', {{ conditions[definitions[metric][1]] }}, {{ conditions[definitions[metric][0]] }}){{ "," if not loop.last }}
            {%- endfor %}
        ) as shares (metric, is_part, is_yes) on shares.is_part
    ),

    share_sums as (
        {{ share_moments("shared", keys + ["metric"]) | indent(8) }}
    ),

    ratios as (
        select
            {%- for key in keys %}
                denominator.{{ key }},
            {%- endfor %}
            metrics.metric,
            metrics.form,
            denominator.extrapolation,
            coalesce(numerator.estimate, 0) / denominator.estimate as estimate,
            {{ ratio_bounds() | indent(8) }},
            coalesce(numerator.n_sampled, 0) > 0 and denominator.n_sampled > 0 as conservative
        from metrics
        inner join totals as denominator on metrics.denominator = denominator.metric
        left join totals as numerator
            on
                metrics.numerator = numerator.metric
                and denominator.extrapolation = numerator.extrapolation
                {%- for key in keys %}
                    and denominator.{{ key }} = numerator.{{ key }}
                {%- endfor %}
        where metrics.form in ('ratio', 'complement')
    ),

    -- 3. The estimates with their bounds. A ratio is published even above 1; its complement is null then.
    bounded as (
        select
            {{ by }},
            metric,
            extrapolation,
            estimate,
            sampling_lower,
            sampling_upper,
            process_lower,
            process_upper,
            conservative
        from totals
        union all
        select
            {{ by }},
            metric,
            extrapolation,
            share as estimate,
            {{ share_bounds() | indent(8) }},
            conservative
        from share_sums
        union all
        select
            {{ by }},
            metric,
            extrapolation,
            case
                when form = 'ratio' then estimate
                when estimate <= 1 then 1 - estimate
            end as estimate,
            case when form = 'ratio' then sampling_lower else greatest(1 - sampling_upper, 0) end as sampling_lower,
            case when form = 'ratio' then sampling_upper else 1 - sampling_lower end as sampling_upper,
            case when form = 'ratio' then process_lower else greatest(1 - process_upper, 0) end as process_lower,
            case when form = 'ratio' then process_upper else 1 - process_lower end as process_upper,
            conservative
        from ratios
    ),

    -- 4. One row for each subject, scope and metric.
    counted as (
        select
            {%- for key in keys %}
                subjects.{{ key }},
            {%- endfor %}
            subjects.extrapolation,
            subjects.weighting,
            metrics.metric,
            metrics.form,
            numerator.estimate as numerator,
            denominator.estimate as denominator,
            coalesce(numerator.n, 0) as n_numerator,
            coalesce(denominator.n, 0) as n_denominator,
            coalesce(numerator.n_sampled, 0) as n_numerator_sampled,
            coalesce(denominator.n_sampled, 0) as n_denominator_sampled,
            coalesce(numerator.n_rate_unknown, 0) as n_numerator_rate_unknown,
            coalesce(denominator.n_rate_unknown, 0) as n_denominator_rate_unknown
            {%- if least_effective %},
            coalesce({{ kish_rows("denominator.estimate", "denominator.squares") }}, 0) as n_effective
            {%- endif %}
        from {{ subjects }} as subjects
        inner join metrics on subjects.scope = 'all' or metrics.metric <> 'volume'
        {%- for part in ["numerator", "denominator"] %}
            left join totals as {{ part }}
                on
                    metrics.{{ part }} = {{ part }}.metric
                    and subjects.extrapolation = {{ part }}.extrapolation
                    {%- for key in keys %}
                        and subjects.{{ key }} = {{ part }}.{{ key }}
                    {%- endfor %}
        {%- endfor %}
    )

    -- For a ratio, n counts the rows of numerator and denominator; for a share those of the denominator, which include
    -- the numerator's.
    select
        counted.*,
        case
            when counted.form = 'total' then counted.n_numerator
            when counted.form = 'share' then counted.n_denominator
            else counted.n_numerator + counted.n_denominator
        end as n,
        case
            when counted.form = 'total' then counted.n_numerator
            when counted.form = 'share' then counted.n_denominator
            else least(nullif(counted.n_numerator, 0), counted.n_denominator)
        end as n_least,
        case
            when counted.form = 'total' then counted.n_numerator_sampled
            when counted.form = 'share' then counted.n_denominator_sampled
            else coalesce(least(nullif(counted.n_numerator_sampled, 0), nullif(counted.n_denominator_sampled, 0)), 0)
        end as n_sampled,
        case
            when counted.form = 'total' then counted.n_numerator_rate_unknown
            when counted.form = 'share' then counted.n_denominator_rate_unknown
            else counted.n_numerator_rate_unknown + counted.n_denominator_rate_unknown
        end as n_rate_unknown,
        case
            when counted.form = 'total' then 'no_events'
            when counted.denominator is null then 'no_denominator'
            {%- if least_effective %}
            when counted.n_effective < {{ least_effective }} then 'few_effective_rows'
            {%- endif %}
            else 'more_choices_than_asked'
        end as missing,
        {% if least_effective %}case when counted.form = 'total' or counted.n_effective >= {{ least_effective }} then bounded.estimate end as estimate
        {%- else %}bounded.estimate{% endif %},
        bounded.sampling_lower,
        bounded.sampling_upper,
        bounded.process_lower,
        bounded.process_upper,
        coalesce(bounded.conservative, false) as conservative
    from counted
    left join bounded
        on
            counted.metric = bounded.metric
            and counted.extrapolation = bounded.extrapolation
            {%- for key in keys %}
                and counted.{{ key }} = bounded.{{ key }}
            {%- endfor %}
{%- endmacro %}
