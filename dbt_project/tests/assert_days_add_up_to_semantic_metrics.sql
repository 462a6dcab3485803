-- Totals of the semantic models, by company and over all companies, that differ from the recommended totals.
with daily as (

    select *
    from {{ ref('consent_daily') }}
    where scope = 'notice' and metric in ('asked', 'given', 'choices', 'opt_ins')

),

company_metrics as (

    select * from {{ ref('company_consent_metrics') }}

),

overall as (

    select *
    from {{ ref('overall_consent_metrics') }}
    where scope = 'notice'

),

from_days as (

    select
        api_key::text as company,
        metric,
        sum(recommended_estimate) as total
    from daily
    group by api_key, metric
    union all
    select
        'all' as company,
        metric,
        sum(recommended_estimate) as total
    from daily
    group by metric

),

from_marts as (

    select
        company_metrics.api_key::text as company,
        totals.metric,
        totals.total
    from company_metrics
    inner join lateral (
        values
        ('asked', recommended_asked),
        ('given', recommended_given),
        ('choices', recommended_choices),
        ('opt_ins', recommended_opt_ins)
    ) as totals (metric, total) on true
    union all
    select
        'all' as company,
        metric,
        estimate as total
    from overall
    where metric in ('asked', 'given', 'choices', 'opt_ins')

)

select
    from_marts.company,
    from_marts.metric,
    from_days.total as days_total,
    from_marts.total
from from_marts
left join from_days on from_marts.company = from_days.company and from_marts.metric = from_days.metric
where coalesce(abs(from_days.total - from_marts.total) > 1e-9 * from_marts.total, from_marts.total > 0)
