with companies as (

    select * from {{ ref('int_companies') }}

),

changes as (

    select * from {{ ref('int_consent_changes') }}

)

select
    companies.api_key,
    companies.company_name,
    companies.industry,
    companies.industry_group,
    companies.hq_country,
    {{ change_columns("changes") }},
    changes.extrapolation as recommended_extrapolation
from companies
inner join changes on companies.api_key = changes.api_key
