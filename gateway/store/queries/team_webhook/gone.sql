-- Only the one that said so: another may have taken its place meanwhile.
update team_webhook set state = 'gone' where consumer_id = $1 and sealed = $2
