delete from account_invitation where consumer_id = $1 and invitation_id = $2
