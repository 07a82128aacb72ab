insert into consumer (consumer_id, name, tenant_id, residency, managed_by)
values ($1, $2, $3, $4, 'api')
