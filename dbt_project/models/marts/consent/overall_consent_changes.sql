with changes as (

    select * from {{ ref('int_consent_changes') }}

)

select
    {{ change_columns("changes") }}
from changes
where changes.api_key = {{ all_companies() }}
