with source as (

    select * from {{ source('raw', 'company') }}

)

select
    load_id,
    row_number,
    api_key,
    nullif(industry_front, '') as industry,
    nullif(industry_back, '') as industry_group,
    nullif(hq_country, '') as hq_country
from source
