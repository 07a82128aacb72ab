select
    consumer.consumer_id as id,
    consumer.name,
    tenant.name as tenant,
    consumer.residency,
    consumer.managed_by,
    consumer.created_at
from consumer
join tenant on tenant.tenant_id = consumer.tenant_id
where consumer.consumer_id = $1 or consumer.name = $2
