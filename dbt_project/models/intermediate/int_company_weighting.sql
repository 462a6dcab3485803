with companies as (

    select * from {{ ref('int_companies') }}

),

daily_events as (

    select *
    from {{ ref('int_daily__events') }}
    where n > 0

),

-- Rows without COUNT are no evidence, and neither are rows whose 1 / p rounds to 1: both readings of COUNT expect 1.
counted as (

    select
        api_key,
        sum(n) filter (where sampling_rate < 1) as n_sampled,
        sum(n - n_count_unknown) filter (where floor(1 / sampling_rate + 0.5) > 1) as n_evidence,
        sum(n_count_inverse_of_rate) filter (where floor(1 / sampling_rate + 0.5) > 1) as n_inverse
    from daily_events
    group by api_key

),

companies_counted as (

    select
        companies.api_key,
        coalesce(counted.n_sampled, 0) as n_sampled,
        coalesce(counted.n_evidence, 0) as n_evidence,
        coalesce(counted.n_inverse, 0) as n_inverse
    from companies
    left join counted on companies.api_key = counted.api_key

)

select
    api_key,
    n_evidence::bigint as n_evidence,
    (n_inverse / nullif(n_evidence, 0))::double precision as share_count_inverse_of_rate,
    {{ weighting("n_sampled", "n_evidence", "n_inverse") }} as weighting
from companies_counted
