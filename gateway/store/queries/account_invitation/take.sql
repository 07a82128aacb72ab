-- Whoever comes second waits for the first, and finds nothing.
delete from account_invitation
where digest = $1 and expires_at > $2
returning invitation_id as id, email, consumer_id, team_role, role
