-- Whom nobody has told of it yet hears nothing.
with gone as (
    delete from account_invitation where consumer_id = $1 and invitation_id = $2
    returning email
),

untold as (
    update notification
    set state = 'failed', ended_at = now(), leased_until = null, fault = 'the invitation was withdrawn'
    from gone
    where
        notification.consumer_id = $1
        and notification.kind = 'invitation.made'
        and notification.address = gone.email
        and notification.state = 'queued'
    returning notification.notification_id
)

select count(*) as "withdrawn!" from gone
