-- One at a time, and twenty in an hour: the receiver need not be the team's own.
insert into notification (kind, channel, consumer_id, data)
select $2, 'webhook', $1, $3
where
    exists (select 1 from team_webhook where consumer_id = $1 and state = 'on')
    and not exists (select 1 from notification where consumer_id = $1 and kind = $2 and state = 'queued')
    and (
        select count(*) from notification where consumer_id = $1 and kind = $2 and created_at > now() - interval '1 hour'
    ) < 20
