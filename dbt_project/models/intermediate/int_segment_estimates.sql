{{ config(pre_hook='{{ set_planner_options() }}') }}

with segment_strata as (

    select * from {{ ref('int_segment_strata') }}

),

-- Each company, and all companies together.
subject_strata as (

    select
        api_key,
        dimension,
        value,
        event_type,
        consent_status,
        action_class,
        sampling_rate,
        n,
        n_rate_unknown,
        extrapolation,
        weight,
        squares,
        squares_rate
    from segment_strata
    union all
    select
        {{ all_companies() }} as api_key,
        dimension,
        value,
        event_type,
        consent_status,
        action_class,
        sampling_rate,
        n,
        n_rate_unknown,
        'recommended' as extrapolation,
        weight,
        squares,
        squares_rate
    from segment_strata

),

scoped as (

    {{ in_scopes("subject_strata") | indent }}

),

-- The recommended extrapolation of a company never squares its weights, so weighting needs no check.
segments as (

    select distinct
        api_key,
        scope,
        dimension,
        value,
        extrapolation,
        'recommended' as weighting
    from scoped

),

estimates as (

    {{ metric_estimates(
        "scoped",
        "segments",
        ["api_key", "scope", "dimension", "value"],
        ["conversion", "choice_rate", "opt_in_rate", "consent_rate", "opt_out_rate"],
        least_effective_rows()
    ) | indent }}

),

published as (

    {{ published(
        "estimates",
        ["api_key", "scope", "dimension", "value", "metric"],
        ["form", "numerator", "denominator", "n_numerator", "n_denominator", "n_effective"]
    ) | indent }}

)

select
    *,
    form = 'ratio' and coalesce(estimate > 1, false) as is_above_one
from published
