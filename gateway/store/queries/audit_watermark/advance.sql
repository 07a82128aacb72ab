-- Compare and set: the lock makes the comparison true; that it is true is checked all the same.
update audit_watermark
set seq = $4, chain_hash = $5, updated_at = now()
where node = $1 and incarnation = $2 and seq = $3
