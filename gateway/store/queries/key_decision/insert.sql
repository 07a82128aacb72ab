insert into key_decision (key_id, verdict, reason, decided_by) values ($1, $2, $3, $4)
