select topic from mail_refusal where account_id = $1 order by topic
