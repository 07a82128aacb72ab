insert into notification (kind, channel, account_id, data) values ($1, 'mail', $2, $3)
