select count(*) as "waiting!" from account where state = 'pending'
