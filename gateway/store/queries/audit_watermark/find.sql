select seq, chain_hash from audit_watermark where node = $1 and incarnation = $2
