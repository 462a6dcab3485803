-- Cases in which the publication rules give another result than expected. Each case lists the inputs, then the expected
-- reason, and whether the sampling interval and the process interval are published.
with cases (
    name, extrapolation, weighting, n, n_least, n_sampled, n_rate_unknown, estimate, missing, expected, has_sampling, has_process
) as (

    values
    ('estimate and both intervals', 'count_over_rate', 'count_per_row', 900, 900, 30, 9, 5.0, 'x', null, true, true),
    ('no rows', 'count_over_rate', 'census', 0, 0, 0, 0, null, 'x', 'x', false, false),
    ('twice weighted', 'count_over_rate', 'count_already_extrapolated', 900, 900, 30, 0, 5.0, 'x',
        'count_already_extrapolated', false, false),
    ('twice weighted, but not by 1 / p', 'inverse_rate', 'count_already_extrapolated', 900, 900, 30, 0, 5.0, 'x',
        null, true, true),
    ('twice weighted, but no sampled row', 'count_over_rate', 'count_already_extrapolated', 900, 900, 0, 0, 5.0, 'x',
        null, true, true),
    ('COUNT is extrapolated already', 'count', 'count_already_extrapolated', 900, 900, 30, 0, 5.0, 'x', null, true, true),
    ('COUNT is not extrapolated', 'count', 'count_per_row', 900, 900, 30, 0, 5.0, 'x', 'not_extrapolated', false, false),
    ('COUNT may be extrapolated', 'count', 'undetermined', 900, 900, 29, 0, 5.0, 'x', 'not_extrapolated', false, false),
    ('COUNT of all events', 'count', 'count_per_row', 900, 900, 0, 0, 5.0, 'x', null, true, true),
    ('1% of rates unknown', 'count_over_rate', 'count_per_row', 1000, 900, 30, 10, 5.0, 'x', null, true, true),
    ('over 1% of rates unknown', 'count_over_rate', 'count_per_row', 1000, 900, 30, 11, 5.0, 'x',
        'rate_unknown', false, false),
    ('all rates unknown', 'count_over_rate', 'census', 900, 900, 0, 900, 5.0, 'x', 'rate_unknown', false, false),
    ('5 sampled rows', 'count_over_rate', 'undetermined', 900, 900, 5, 0, 5.0, 'x', null, true, true),
    ('4 sampled rows', 'count_over_rate', 'undetermined', 900, 900, 4, 0, 5.0, 'x', 'few_sampled_rows', false, false),
    ('1 sampled row', 'count_over_rate', 'undetermined', 900, 900, 1, 0, 5.0, 'x', 'few_sampled_rows', false, false),
    ('5 rows', 'count_over_rate', 'census', 5, 5, 0, 0, 5.0, 'x', null, true, true),
    ('4 rows', 'count_over_rate', 'census', 4, 4, 0, 0, 5.0, 'x', 'few_rows', true, false),
    ('4 rows of a numerator', 'count_over_rate', 'count_per_row', 904, 4, 30, 0, 5.0, 'x', 'few_rows', true, false)

),

bounded as (

    select
        *,
        4.0 as sampling_lower,
        6.0 as sampling_upper,
        3.0 as process_lower,
        7.0 as process_upper,
        false as conservative
    from cases

),

published as (

    {{ published("bounded", ["name"], ["expected", "has_sampling", "has_process"]) | indent }}

)

select *
from published
where
    null_because is distinct from expected
    or has_sampling <> (sampling_lower is not null and sampling_upper is not null)
    or has_process <> (process_lower is not null and process_upper is not null)
    or is_low_sample <> (n_sampled in (1, 4, 5, 29))
    or is_census <> (n_sampled = 0 and n > 0)
