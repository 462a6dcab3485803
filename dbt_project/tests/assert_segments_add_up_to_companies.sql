-- Rates whose numerators or denominators, added up over the values of a dimension, differ from those of the company or
-- of all companies together.
with company_estimates as (

    select * from {{ ref('int_company_estimates') }}

),

company_weighting as (

    select * from {{ ref('int_company_weighting') }}

),

segments as (

    select
        api_key,
        scope,
        dimension,
        rate,
        sum(n_numerator) as n_numerator,
        sum(n_denominator) as n_denominator,
        sum(numerator) as numerator,
        sum(denominator) as denominator
    from {{ ref('consent_segments') }}
    group by 1, 2, 3, 4
    union all
    select
        {{ all_companies() }} as api_key,
        scope,
        dimension,
        rate,
        sum(n_numerator) as n_numerator,
        sum(n_denominator) as n_denominator,
        sum(numerator) as numerator,
        sum(denominator) as denominator
    from {{ ref('overall_consent_segments') }}
    group by 1, 2, 3, 4

),

-- Prompts or consents are needed for a segment: a company without any has none.
companies as (

    select
        estimates.api_key,
        estimates.scope,
        dimensions.dimension,
        estimates.metric as rate,
        estimates.n_numerator,
        estimates.n_denominator,
        estimates.numerator,
        estimates.denominator
    from company_estimates as estimates
    left join company_weighting on estimates.api_key = company_weighting.api_key
    cross join
        unnest(string_to_array('{{ segment_dimensions() | join(" ") }}', ' ')) as dimensions (dimension)
    where
        estimates.metric in ('conversion', 'choice_rate', 'opt_in_rate', 'consent_rate', 'opt_out_rate')
        and (
            estimates.extrapolation = 'recommended'
            or estimates.extrapolation = {{ recommended_extrapolation("company_weighting.weighting") }}
        )

)

select
    companies.*,
    segments.n_numerator as segments_n_numerator,
    segments.n_denominator as segments_n_denominator,
    segments.numerator as segments_numerator,
    segments.denominator as segments_denominator
from companies
left join segments
    on
        companies.api_key = segments.api_key
        and companies.scope = segments.scope
        and companies.dimension = segments.dimension
        and companies.rate = segments.rate
where
    companies.n_numerator <> coalesce(segments.n_numerator, 0)
    or companies.n_denominator <> coalesce(segments.n_denominator, 0)
    or abs(coalesce(companies.numerator, 0) - coalesce(segments.numerator, 0))
    > 1e-9 * coalesce(companies.numerator, 1)
    or abs(coalesce(companies.denominator, 0) - coalesce(segments.denominator, 0))
    > 1e-9 * coalesce(companies.denominator, 1)
