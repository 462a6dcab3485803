-- Bounds that differ from what the formulas give by hand, to nine digits.
with cases (bound, given, expected) as (

    values
    -- 50 unsampled, 100 sampled with a standard deviation of 30.
    ('total, lower', {{ total_bound("lower", "150.0", "100.0", "900.0") }}, 105.54430500266733),
    ('total, upper', {{ total_bound("upper", "150.0", "100.0", "900.0") }}, 230.0364591747036),
    ('total of a census', {{ total_bound("upper", "150.0", "0.0", "0.0") }}, 150.0),
    ('ratio, lower', {{ ratio_bound("lower", "100.0", "4.0", "200.0", "900.0") }}, 0.3716719936901426),
    ('ratio, upper', {{ ratio_bound("upper", "100.0", "4.0", "200.0", "900.0") }}, 0.6726360991525805),
    ('ratio of nothing, lower', {{ ratio_bound("lower", "0.0", "null", "200.0", "900.0") }}, 0.0),
    ('ratio of nothing, upper', {{ ratio_bound("upper", "0.0", "null", "200.0", "900.0") }}, 0.018444397270569683),
    ('ratio of nothing, all unsampled', {{ ratio_bound("upper", "0.0", "null", "200.0", "0.0") }}, 0.0),
    ('ratio without denominator', {{ ratio_bound("upper", "0.0", "null", "null::numeric", "null::numeric") }}, null),
    ('share, lower', {{ share_bound("lower", "0.3", "40.0") }}, 0.18074845229746528),
    ('share, upper', {{ share_bound("upper", "0.3", "40.0") }}, 0.45430018818144935),
    ('share of 0, lower', {{ share_bound("lower", "0.0", "40.0") }}, 0.0),
    ('share of 0, upper', {{ share_bound("upper", "0.0", "40.0") }}, 0.08762160119728664),
    ('share of 1, lower', {{ share_bound("lower", "1.0", "40.0") }}, 0.9123783988027134),
    ('share of 1, upper', {{ share_bound("upper", "1.0", "40.0") }}, 1.0),
    ('share of a census', {{ share_bound("upper", "0.3", "null::numeric") }}, 0.3),
    ('mean, lower', {{ mean_bound("lower", "10.0", "4.0") }}, 6.757089811370457),
    ('mean, upper', {{ mean_bound("upper", "10.0", "4.0") }}, 14.799270513132077),
    ('mean of 0', {{ mean_bound("upper", "0.0", "0.0") }}, 0.0),
    ('detectable at 0.1', {{ detectable_at_95("0.1") }}, 28.43315880574342),
    ('detectable at 0.03', {{ detectable_at_95("0.03") }}, 98.35227246335734),
    ('detectable at 1', {{ detectable_at_95("1") }}, 1.0)

)

select *
from cases
where (given is null) <> (expected is null) or abs(given - expected) > 1e-9 * abs(expected)
