select id from {{ ref('behaviour') }}
