-- The session that has just begun stays, whatever the clocks say.
delete from account_session
where
    account_id = $1
    and digest <> $2
    and (
        expires_at <= $3
        or digest not in (
            select digest
            from account_session
            where account_id = $1 and expires_at > $3
            order by digest = $2 desc, created_at desc, digest
            limit $4
        )
    )
