-- The text of a key was shown, and verified against the bcrypt hash, which goes. The digests take its place: the present secret's, or the
-- previous one's where the key has been rolled meanwhile. Nothing happens to a key that is revoked, that somebody else has shown the text of,
-- or whose first secret has ended.
update api_key
set
    digest = case when secret_number = 1 then $2 else digest end,
    pepper_version = case when secret_number = 1 then $3::integer else pepper_version end,
    peppers = case when secret_number = 1 then null else peppers end,
    previous_digest = case when secret_number = 1 then previous_digest else $2 end,
    previous_peppers = case when secret_number = 1 then previous_peppers else array[$3::integer] end,
    import_lookup = $4,
    import_peppers = array[$3::integer],
    import_prefix = null,
    import_sealed = null,
    import_sealed_pepper = null
where
    key_id = $1
    and import_sealed is not null
    -- A rotation has gone past it meanwhile: the next request tells it under the newer pepper.
    and import_sealed_pepper = $3
    and state <> 'revoked'
    and (
        secret_number = 1
        or (
            previous_digest is not null
            and case when replaced_number = secret_number then previous_number else secret_number - 1 end = 1
        )
    )
