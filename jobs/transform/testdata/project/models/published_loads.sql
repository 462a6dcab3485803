select load_id from raw.load where state = 'published'
