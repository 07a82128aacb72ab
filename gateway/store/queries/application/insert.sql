insert into application (application_id, name, consumer_id, plan_id, scopes, managed_by)
values ($1, $2, $3, $4, $5, 'api')
