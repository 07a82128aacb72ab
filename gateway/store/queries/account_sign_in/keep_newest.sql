delete from account_sign_in
where
    account_id = $1
    and digest <> $2
    and digest not in (select digest from account_sign_in where account_id = $1 order by digest = $2 desc, created_at desc, digest limit $3)
