select
    account_invitation.invitation_id as id,
    account_invitation.email,
    account_invitation.consumer_id as "consumer_id?",
    consumer.name as "consumer_name?",
    account_invitation.team_role,
    account_invitation.role,
    account_invitation.invited_by,
    account_invitation.expires_at
from account_invitation
join consumer on consumer.consumer_id = account_invitation.consumer_id
where account_invitation.consumer_id = $1
order by account_invitation.created_at desc, account_invitation.invitation_id desc
