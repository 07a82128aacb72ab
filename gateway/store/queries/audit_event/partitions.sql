select audit_partitions($1) as "days!", now() as "now!"
