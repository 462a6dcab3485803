-- Bounds that differ from values computed by hand, to nine digits.
with durations as (

    -- 1 to 30, unordered, with equal weights.
    select
        ((number * 7) % 31)::double precision as seconds,
        10.0 as weight
    from generate_series(1, 30) as numbers (number)

),

ordered as (

    select
        seconds,
        sum(weight) over () as weight_sum,
        sum(weight) over (order by seconds asc) as weight_until,
        sum(weight) over (order by seconds asc) - weight as weight_before
    from durations

),

quantiles as (

    select
        {{ weighted_quantile("seconds", "0.5 * weight_sum") }} as median,
        {{ weighted_quantile("seconds", "0.9 * weight_sum") }} as p90,
        {{ median_bound("lower", "seconds", share_bound("lower", "0.5", "30.0") ~ " * weight_sum") }} as lower_bound,
        {{ median_bound("upper", "seconds", share_bound("upper", "0.5", "30.0") ~ " * weight_sum") }} as upper_bound,
        {{ median_bound("lower", "seconds", share_bound("lower", "0.5", "2.0") ~ " * weight_sum") }} as lowest,
        {{ median_bound("upper", "seconds", share_bound("upper", "0.5", "2.0") ~ " * weight_sum") }} as highest
    from ordered

),

cases (bound, actual, expected) as (

    values
    ('variance of 5 rows', {{ small_sum_variance("10.0", "5") }}, 12.0),
    ('variance of no row', {{ small_sum_variance("0.0", "0") }}, null),
    -- 50 unsampled, 100 sampled with a standard deviation of 30.
    ('sampling total, lower', {{ total_bound("lower", "50.0", "0", "100.0", "900.0") }}, 105.54430500266733),
    ('sampling total, upper', {{ total_bound("upper", "50.0", "0", "100.0", "900.0") }}, 230.0364591747036),
    ('process total, lower', {{ total_bound("lower", "50.0", "50.0", "100.0", "1000.0") }}, 102.24600147907856),
    ('process total, upper', {{ total_bound("upper", "50.0", "50.0", "100.0", "1000.0") }}, 237.32742525823596),
    ('total of a census', {{ total_bound("upper", "150.0", "0", "0.0", "0.0") }}, 150.0),
    -- 100 in 90 to 112, of 200 in 150 to 260.
    ('ratio, lower', {{ ratio_bound("lower", "100.0", "90.0", "200.0", "260.0") }}, 0.37686190433582545),
    ('ratio, upper', {{ ratio_bound("upper", "100.0", "112.0", "200.0", "150.0") }}, 0.6811671029947373),
    ('ratio of nothing, lower', {{ ratio_bound("lower", "0.0", "null", "200.0", "260.0") }}, 0.0),
    ('ratio of nothing, upper', {{ ratio_bound("upper", "0.0", "null", "200.0", "150.0") }}, 0.018444397270569683),
    ('ratio of nothing, all unsampled', {{ ratio_bound("upper", "0.0", "null", "200.0", "200.0") }}, 0.0),
    ('ratio without denominator', {{ ratio_bound("upper", "0.0", "null", "null::numeric", "null::numeric") }}, null),
    ('share, lower', {{ share_bound("lower", "0.3", "40.0") }}, 0.18074845229746528),
    ('share, upper', {{ share_bound("upper", "0.3", "40.0") }}, 0.45430018818144935),
    ('share of 0, lower', {{ share_bound("lower", "0.0", "40.0") }}, 0.0),
    ('share of 0, upper', {{ share_bound("upper", "0.0", "40.0") }}, 0.08762160119728664),
    ('share of 1, lower', {{ share_bound("lower", "1.0", "40.0") }}, 0.9123783988027134),
    ('share of 1, upper', {{ share_bound("upper", "1.0", "40.0") }}, 1.0),
    ('share of 2 effective rows, lower', {{ share_bound("lower", "0.05", "40.0") }}, 0.008628746324030476),
    ('share of 2 effective rows, upper', {{ share_bound("upper", "0.95", "40.0") }}, 0.9913712536759696),
    ('share of next to no effective row', {{ share_bound("lower", "0.01", "10.0") }}, 0.0),
    ('share of a census', {{ share_bound("upper", "0.3", "null::numeric") }}, 0.3),
    -- 56 of 70 against 48 of 80, each with Wilson's bounds (Newcombe 1998, method 10: 0.0524 to 0.3339).
    ('difference, lower', {{ difference_bound("lower", ["0.8", "0.6918335550374695", "0.8769526075163705"],
        ["0.6", "0.4904546500516039", "0.7003817240412906"]) }}, 0.052431472402364926),
    ('difference, upper', {{ difference_bound("upper", ["0.8", "0.6918335550374695", "0.8769526075163705"],
        ["0.6", "0.4904546500516039", "0.7003817240412906"]) }}, 0.333872654036906),
    ('deviations of a rise', {{ difference_deviations(["0.7", "0.6", "0.9"], ["0.5", "0.4", "0.55"]) }}, 3.5060901623063256),
    ('deviations of a drop', {{ difference_deviations(["0.5", "0.4", "0.55"], ["0.7", "0.6", "0.9"]) }}, 3.5060901623063256),
    ('deviations of nothing', {{ difference_deviations(["0.0", "0.0", "0.0"], ["0.0", "0.0", "0.0"]) }}, 0.0),
    ('mean, lower', {{ mean_bound("lower", "10.0", "4.0") }}, 6.757089811370457),
    ('mean, upper', {{ mean_bound("upper", "10.0", "4.0") }}, 14.799270513132077),
    ('mean of 0', {{ mean_bound("upper", "0.0", "0.0") }}, 0.0),
    ('detectable at 0.1', {{ detectable_at_95("0.1") }}, 28.43315880574342),
    ('detectable at 0.03', {{ detectable_at_95("0.03") }}, 98.35227246335734),
    ('detectable at 1', {{ detectable_at_95("1") }}, 1.0)
    union all
    -- The share of one half lies in 0.33 to 0.67 of 30 rows, and in 0.02 to 0.98 of 2.
    select cases_of_quantiles.*
    from quantiles
    cross join lateral (
        values
        ('median', median, 15.5),
        ('nine in ten', p90, 27.5),
        ('median, lower', lower_bound, 9.0),
        ('median, upper', upper_bound, 22.0),
        ('median of 2 effective rows, lower', lowest, 1.0),
        ('median of 2 effective rows, upper', highest, 30.0)
    ) as cases_of_quantiles (bound, actual, expected)

)

select *
from cases
where (actual is null) <> (expected is null) or abs(actual - expected) > 1e-9 * abs(expected)
