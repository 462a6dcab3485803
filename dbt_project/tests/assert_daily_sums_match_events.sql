-- Company days of the loads to test whose row counts or sums of COUNT in a daily model differ from int_events.
with tested_days as materialized ( -- noqa: ST03

    {{ days_to_test() }}

),

from_events as (

    select
        api_key,
        day,
        count(*) as n,
        sum(event_count) as count_sum,
        count(*) filter (where {{ is_prompt_or_consent() }}) as n_consent,
        coalesce(sum(event_count) filter (where {{ is_prompt_or_consent() }}), 0) as count_sum_consent,
        count(choice_set) as n_choices,
        coalesce(sum(event_count) filter (where choice_set is not null), 0) as count_sum_choices
    from {{ ref('int_events') }}
    where is_current and {{ is_on_day_to_test("select api_key, day from tested_days") }}
    group by 1, 2

),

from_daily as (

    select
        'int_daily__events' as model,
        api_key,
        day,
        sum(n) as n,
        sum(count_sum) as count_sum
    from {{ ref('int_daily__events') }}
    where n > 0 and {{ is_on_day_to_test("select api_key, day from tested_days") }}
    group by 1, 2, 3
    union all
    select
        'int_daily__dimensions ' || dimension as model,
        api_key,
        day,
        sum(n) as n,
        sum(count_sum) as count_sum
    from {{ ref('int_daily__dimensions') }}
    where {{ is_on_day_to_test("select api_key, day from tested_days") }}
    group by 1, 2, 3
    union all
    select
        'int_daily__choices' as model,
        api_key,
        day,
        sum(n) as n,
        sum(count_sum) as count_sum
    from {{ ref('int_daily__choices') }}
    where {{ is_on_day_to_test("select api_key, day from tested_days") }}
    group by 1, 2, 3
    union all
    select
        'int_daily__domains' as model,
        api_key,
        day,
        sum(n) as n,
        null as count_sum
    from {{ ref('int_daily__domains') }}
    where {{ is_on_day_to_test("select api_key, day from tested_days") }}
    group by 1, 2, 3

),

-- Every day in either of them, once for each model. Some dimensions contain only prompts and consents.
expected as (

    select
        models.model,
        from_events.api_key,
        from_events.day,
        case when models.has_all then from_events.n else from_events.n_consent end as n,
        case when models.has_all then from_events.count_sum else from_events.count_sum_consent end as count_sum
    from from_events
    cross join (
        values
        ('int_daily__events', true),
        {%- for name, dimension in event_dimensions().items() %}
            ('int_daily__dimensions {{ name }}', {{ ("event_breakdown" in dimension.marts) | lower }}),
        {%- endfor %}
        ('int_daily__domains', true)
    ) as models (model, has_all)
    where models.has_all or from_events.n_consent > 0
    union all
    select
        'int_daily__choices' as model,
        api_key,
        day,
        n_choices as n,
        count_sum_choices as count_sum
    from from_events
    where n_choices > 0

)

select
    coalesce(expected.model, from_daily.model) as model,
    coalesce(expected.api_key, from_daily.api_key) as api_key,
    coalesce(expected.day, from_daily.day) as day,
    expected.n,
    from_daily.n as daily_n,
    expected.count_sum,
    from_daily.count_sum as daily_count_sum
from expected
full join from_daily
    on
        expected.model = from_daily.model
        and expected.api_key = from_daily.api_key
        and expected.day = from_daily.day
where
    expected.n is distinct from from_daily.n
    or expected.count_sum <> from_daily.count_sum
