{{ config(pre_hook='{{ set_planner_options() }}') }}

with purpose_strata as (

    select * from {{ ref('int_purpose_strata') }}

),

consents as (

    select
        api_key,
        scope,
        extrapolation,
        n_numerator as n_given
    from {{ ref('int_company_estimates') }}
    where metric = 'given'

),

-- Each company, and all companies together.
subject_strata as (

    select
        api_key,
        kind,
        basis,
        id,
        place,
        n_ids,
        is_enabled,
        event_type,
        action_class,
        sampling_rate,
        n,
        n_rate_unknown,
        extrapolation,
        weight,
        squares,
        squares_rate
    from purpose_strata
    where place <= {{ most_ids() }}
    union all
    select
        {{ all_companies() }} as api_key,
        kind,
        basis,
        id,
        overall_place as place,
        n_overall_ids as n_ids,
        is_enabled,
        event_type,
        action_class,
        sampling_rate,
        n,
        n_rate_unknown,
        'recommended' as extrapolation,
        weight,
        squares,
        squares_rate
    from purpose_strata
    where overall_place <= {{ most_ids() }}

),

shared as (

    select
        scoped.*,
        scoped.is_enabled as is_yes
    from (
        {{ in_scopes("subject_strata") | indent(8) }}
    ) as scoped

),

sums as (

    {{ share_moments("shared", ["api_key", "scope", "kind", "basis", "id", "place", "n_ids"]) | indent }}

),

-- Consents are one type of event, so the sum of squares is that of the rows. The recommended extrapolation of a company
-- never squares its weights, so weighting needs no check.
counted as (

    select
        *,
        'recommended' as weighting,
        n as n_least,
        {{ kish_rows("total", "process_squares") }} as n_effective
    from sums

),

estimates as (

    select
        *,
        'few_effective_rows' as missing,
        case when n_effective >= {{ least_effective_rows() }} then share end as estimate,
        {{ share_bounds() | indent(4) }}
    from counted

),

published as (

    {{ published(
        "estimates",
        ["api_key", "scope", "kind", "basis", "id"],
        ["place", "n_ids", "n_yes", "total", "total_yes", "n_effective"]
    ) | indent }}

)

select
    published.*,
    consents.n_given
from published
inner join consents
    on
        published.api_key = consents.api_key
        and published.scope = consents.scope
        and published.extrapolation = consents.extrapolation
