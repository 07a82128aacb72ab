insert into mail_refusal (account_id, topic) select $1, topic from unnest($2::text []) as topic
on conflict on constraint mail_refusal_pk do nothing
