delete from mail_refusal where account_id = $1 and topic = any($2)
