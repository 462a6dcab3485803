-- Moments that differ from values computed by hand, to nine digits. Some page views are sampled at 0.1, others are not
-- sampled; consent.asked is sampled at 0.2. In the share are 4 of the 19 rows of key a, and none of the 4 rows of key b.
with strata (
    key, extrapolation, event_type, sampling_rate, is_yes, n, n_rate_unknown, weight, squares, squares_rate
) as (

    values
    ('a', 'x', 'pageview', 0.1, true, 1, 0, 10.0, 100.0, 10.0),
    ('a', 'x', 'pageview', 0.1, false, 3, 1, 30.0, 300.0, 30.0),
    ('a', 'x', 'pageview', 1.0, true, 3, 0, 3.0, 3.0, 3.0),
    ('a', 'x', 'pageview', 1.0, false, 3, 2, 3.0, 3.0, 3.0),
    ('a', 'x', 'consent.asked', 0.2, false, 9, 0, 45.0, 225.0, 45.0),
    ('b', 'x', 'pageview', 0.1, false, 4, 0, 40.0, 400.0, 40.0)

),

totals as (

    {{ total_moments("strata", ["key"]) | indent }}

),

shares as (

    {{ share_moments("strata", ["key"]) | indent }}

),

moments (key, moment, actual) as (

    select
        totals.key,
        moments.*
    from totals
    cross join lateral (
        values
        ('n', n::double precision),
        ('n_sampled', n_sampled),
        ('n_rate_unknown', n_rate_unknown),
        ('total', total),
        ('sampled', sampled),
        ('sampling_variance', sampling_variance),
        ('process_variance_sampled', process_variance_sampled),
        ('process_variance_unsampled', process_variance_unsampled),
        ('unsampled', unsampled),
        ('conservative', conservative::integer)
    ) as moments (moment, actual)
    union all
    select
        shares.key,
        moments.*
    from shares
    cross join lateral (
        values
        ('n_yes', n_yes::double precision),
        ('share', share),
        ('sampling_n_effective', sampling_n_effective),
        ('process_n_effective', process_n_effective),
        ('share_conservative', conservative::integer)
    ) as moments (moment, actual)

),

expectations (key, moment, expected) as (

    values
    ('a', 'n', 19),
    ('a', 'n_sampled', 13),
    ('a', 'n_rate_unknown', 3),
    ('a', 'total', 91),
    ('a', 'sampled', 85),
    ('a', 'sampling_variance', 1049.1168824543142),
    ('a', 'process_variance_sampled', 1225),
    ('a', 'process_variance_unsampled', 6),
    ('a', 'unsampled', 6),
    ('a', 'conservative', 1),
    ('a', 'n_yes', 4),
    ('a', 'share', 0.14285714285714285),
    ('a', 'sampling_n_effective', 5.509589705490951),
    ('a', 'process_n_effective', 4.71718914465293),
    ('a', 'share_conservative', 1),
    ('b', 'n', 4),
    ('b', 'n_sampled', 4),
    ('b', 'n_rate_unknown', 0),
    ('b', 'total', 40),
    ('b', 'sampled', 40),
    ('b', 'sampling_variance', 360),
    ('b', 'process_variance_sampled', 400),
    ('b', 'process_variance_unsampled', 0),
    ('b', 'unsampled', 0),
    ('b', 'conservative', 0),
    ('b', 'n_yes', 0),
    ('b', 'share', 0),
    ('b', 'sampling_n_effective', 4.444444444444445),
    ('b', 'process_n_effective', 4),
    ('b', 'share_conservative', 0)

)

select
    coalesce(moments.key, expectations.key) as key,
    coalesce(moments.moment, expectations.moment) as moment,
    moments.actual,
    expectations.expected
from moments
full join expectations on moments.key = expectations.key and moments.moment = expectations.moment
where not coalesce(abs(moments.actual - expectations.expected) <= 1e-9 * abs(expectations.expected), false)
