-- Choice sets whose purposes and vendors were not read, although the file of the example is still published.
with published_loads as (

    select load_id
    from {{ ref('stg_consent__loads') }}
    where state = 'published'

),

daily_choices as (

    select distinct
        choice_set,
        example[1] as load_id
    from {{ ref('int_daily__choices') }}

),

choice_sets as (

    select distinct choice_set
    from {{ ref('int_choice_sets') }}

)

select
    daily_choices.choice_set,
    daily_choices.load_id
from daily_choices
inner join published_loads on daily_choices.load_id = published_loads.load_id
left join choice_sets on daily_choices.choice_set = choice_sets.choice_set
where choice_sets.choice_set is null
