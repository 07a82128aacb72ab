-- What somebody has given or was offered in a team ends with what they may do there.
delete from account_invitation
where
    consumer_id = $1
    and (invited_by = $2 or email = (select account.email from account where account.account_id = $3))
