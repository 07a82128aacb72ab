insert into consumer (consumer_id, name, tenant_id, managed_by)
values ($1, $2, $3, 'api')
