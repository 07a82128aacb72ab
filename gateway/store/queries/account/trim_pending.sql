-- Nobody has decided for two weeks: the queue is bounded, and must empty itself. The address may ask again.
delete from account where state = 'pending' and created_at < now() - interval '14 days'
