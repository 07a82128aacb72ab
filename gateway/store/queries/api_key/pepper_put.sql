update api_key
set
    digest = $2,
    peppers = $3,
    previous_digest = $4,
    previous_peppers = $5,
    import_lookup = $6,
    import_peppers = $7,
    import_sealed = $8,
    import_sealed_pepper = $9
where key_id = $1
