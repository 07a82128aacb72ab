insert into account_invitation (invitation_id, digest, email, consumer_id, team_role, role, invited_by, expires_at)
values ($1, $2, $3, $4, $5, $6, $7, $8)
on conflict on constraint account_invitation_email_unique do update
set
    invitation_id = excluded.invitation_id,
    digest = excluded.digest,
    team_role = excluded.team_role,
    role = excluded.role,
    invited_by = excluded.invited_by,
    created_at = now(),
    expires_at = excluded.expires_at
returning
    invitation_id as id,
    email,
    consumer_id as "consumer_id?",
    (select consumer.name from consumer where consumer.consumer_id = account_invitation.consumer_id) as consumer_name,
    team_role,
    role,
    invited_by,
    expires_at
