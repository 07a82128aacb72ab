-- Only a key that is not revoked: the first revocation's time, actor and reason stay. It holds on to no plan any more, and to no bcrypt hash.
update api_key
set
    state = 'revoked',
    revoked_at = now(),
    revoked_by = $2,
    revoked_reason = $3,
    plan_id = null,
    previous_digest = null,
    previous_peppers = null,
    previous_until = null,
    previous_last_four = null,
    import_prefix = null,
    import_sealed = null,
    import_sealed_pepper = null
where key_id = $1 and state <> 'revoked'
returning revoked_at as "revoked_at!"
