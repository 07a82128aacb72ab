-- Counted before the code is looked at, so that tries at the same moment count each.
update account_sign_in
set tries = tries + 1
where digest = $1 and expires_at > $2 and tries < $3
returning account_id
