with companies as (

    select * from {{ ref('int_companies') }}

),

daily_events as (

    select *
    from {{ ref('int_daily__events') }}
    where n > 0

),

scopes as (

    select unnest(array['all', 'notice']) as scope

),

sums as (

    select
        daily_events.api_key,
        scopes.scope,
        sum(n) filter (where event_type = 'consent.asked') as n_asked,
        sum(n) filter (where event_type = 'consent.given') as n_given,
        sum(n) filter (where event_type = 'consent.given' and {{ is_choice() }}) as n_choices,
        sum(n) filter (where event_type = 'consent.given' and {{ is_opt_in() }}) as n_opt_ins,
        sum(n) filter (where event_type = 'consent.given' and {{ is_opt_out() }}) as n_opt_outs,
        {{ estimate("event_type = 'consent.asked'") }} as asked,
        {{ estimate("event_type = 'consent.given'") }} as given,
        {{ estimate("event_type = 'consent.given' and " ~ is_choice()) }} as choices,
        {{ estimate("event_type = 'consent.given' and " ~ is_opt_in()) }} as opt_ins,
        {{ estimate("event_type = 'consent.given' and " ~ is_opt_out()) }} as opt_outs
    from daily_events
    cross join scopes
    where scopes.scope = 'all' or {{ is_notice() }}
    group by 1, 2

),

-- A company without any event keeps its rows, with nothing in them.
company_scopes as (

    select
        companies.api_key,
        companies.industry,
        companies.industry_group,
        companies.hq_country,
        scopes.scope,
        coalesce(sums.n_asked, 0) as n_asked,
        coalesce(sums.n_given, 0) as n_given,
        coalesce(sums.n_choices, 0) as n_choices,
        coalesce(sums.n_opt_ins, 0) as n_opt_ins,
        coalesce(sums.n_opt_outs, 0) as n_opt_outs,
        sums.asked,
        sums.given,
        sums.choices,
        sums.opt_ins,
        sums.opt_outs
    from companies
    cross join scopes
    left join sums on companies.api_key = sums.api_key and scopes.scope = sums.scope

),

rates as (

    select
        company_scopes.api_key,
        company_scopes.industry,
        company_scopes.industry_group,
        company_scopes.hq_country,
        company_scopes.scope,
        rates.rate,
        rates.n_numerator,
        rates.n_denominator,
        rates.numerator,
        rates.denominator,
        -- The denominator is null, not 0, where no event is behind it, and the rate with it.
        coalesce(rates.numerator, 0) / rates.denominator as share
    from company_scopes
    cross join lateral (
        values
        ('conversion', n_given, n_asked, given, asked),
        ('choice_rate', n_choices, n_asked, choices, asked),
        ('consent_rate', n_opt_ins, n_choices, opt_ins, choices),
        ('opt_out_rate', n_opt_outs, n_choices, opt_outs, choices),
        ('opt_in_rate', n_opt_ins, n_asked, opt_ins, asked),
        ('no_choice_rate', n_choices, n_asked, choices, asked)
    ) as rates (rate, n_numerator, n_denominator, numerator, denominator)

)

select
    api_key,
    industry,
    industry_group,
    hq_country,
    scope,
    rate,
    n_numerator::bigint as n_numerator,
    n_denominator::bigint as n_denominator,
    numerator::double precision as numerator,
    denominator::double precision as denominator,
    -- More choices than notices leave no share of notices without a choice; every other rate is published as it is.
    (case
        when rate <> 'no_choice_rate' then share
        when share <= 1 then 1 - share
    end)::double precision as estimate,
    rate <> 'no_choice_rate' and coalesce(share > 1, false) as above_one
from rates
