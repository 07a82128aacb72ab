insert into audit_watermark (node, incarnation, seq, chain_hash)
values ($1, $2, 0, $3)
on conflict on constraint audit_watermark_pk do nothing
