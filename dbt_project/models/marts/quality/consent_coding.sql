with companies as (

    select * from {{ ref('int_companies') }}

),

daily_events as (

    select *
    from {{ ref('int_daily__events') }}
    where n > 0

),

-- Counts rows, not estimates, because the question is how an SDK writes a status, not how many users chose it.
counted as (

    select
        api_key,
        sdk_type,
        coalesce(sum(n) filter (where event_type = 'pageview'), 0) as n_pageview_opt_ins,
        coalesce(sum(n) filter (
            where event_type = 'pageview' and consent_status = 'full opt-in'
        ), 0) as n_pageview_full_opt_ins,
        coalesce(sum(n) filter (where event_type = 'consent.given'), 0) as n_given_opt_ins,
        coalesce(sum(n) filter (
            where event_type = 'consent.given' and consent_status = 'full opt-in'
        ), 0) as n_given_full_opt_ins
    from daily_events
    where event_type in ('pageview', 'consent.given') and {{ is_opt_in() }}
    group by api_key, sdk_type

),

shares as (

    select
        *,
        n_pageview_full_opt_ins / nullif(n_pageview_opt_ins, 0)::double precision as pageview_full_share,
        n_given_full_opt_ins / nullif(n_given_opt_ins, 0)::double precision as given_full_share
    from counted

)

select
    companies.api_key,
    companies.company_name,
    companies.industry,
    companies.industry_group,
    companies.hq_country,
    shares.sdk_type,
    shares.n_pageview_opt_ins::bigint as n_pageview_opt_ins,
    shares.n_pageview_full_opt_ins::bigint as n_pageview_full_opt_ins,
    shares.pageview_full_share,
    shares.n_given_opt_ins::bigint as n_given_opt_ins,
    shares.n_given_full_opt_ins::bigint as n_given_full_opt_ins,
    shares.given_full_share,
    -- With ten rows each, equal shares differ by a half by chance in at most 1 of 40 cases.
    coalesce(
        shares.n_pageview_opt_ins >= 10
        and shares.n_given_opt_ins >= 10
        and abs(shares.pageview_full_share - shares.given_full_share) >= 0.5,
        false
    ) as has_coding_gap
from shares
inner join companies on shares.api_key = companies.api_key
