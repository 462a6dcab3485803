with loads as (

    select * from {{ source('raw', 'load') }}

),

files as (

    select * from {{ source('raw', 'file') }}

)

select
    loads.load_id,
    loads.file_id,
    files.source,
    files.path,
    loads.contract,
    loads.format,
    loads.state,
    encode(loads.sha256, 'hex') as sha256,
    loads.bytes as n_bytes,
    loads.rows as n_rows,
    loads.rejected as n_rejected,
    loads.warnings as n_warnings,
    loads.started as started_at,
    loads.finished as finished_at,
    loads.error
from loads
inner join files on loads.file_id = files.file_id
