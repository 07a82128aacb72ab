-- Keys whose digest, or the one before it, has not the given pepper outermost, or whose bcrypt hash is not sealed by it; in batches, so that no lock is held for long.
select key_id as id
from api_key
where
    state <> 'revoked'
    and key_id > $2
    and (
        coalesce(peppers[array_upper(peppers, 1)], pepper_version) <> $1
        or (previous_peppers is not null and previous_peppers[array_upper(previous_peppers, 1)] <> $1)
        or (import_peppers is not null and import_peppers[array_upper(import_peppers, 1)] <> $1)
        or import_sealed_pepper <> $1
    )
order by key_id
limit $3
