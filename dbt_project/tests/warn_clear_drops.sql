-- Rates that have dropped beyond noise. A drop is a finding about the notice or the export, not an error of the build.
{{ config(severity='warn') }}

with changes as (

    select
        company_name,
        scope,
        rate,
        days,
        previous_estimate,
        estimate,
        difference,
        is_clear
    from {{ ref('consent_changes') }}
    union all
    select
        'all companies together' as company_name,
        scope,
        rate,
        days,
        previous_estimate,
        estimate,
        difference,
        is_clear
    from {{ ref('overall_consent_changes') }}

)

select *
from changes
where is_clear and difference < 0 and scope = 'notice' and rate <> 'opt_out_rate'
