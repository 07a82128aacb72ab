select consumer.consumer_id as id, consumer.name, tenant.name as tenant, consumer.residency
from consumer
join tenant on tenant.tenant_id = consumer.tenant_id
