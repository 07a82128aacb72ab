select
    consumer.consumer_id as id,
    consumer.name,
    tenant.name as tenant,
    consumer.residency,
    consumer.managed_by,
    consumer.created_at
from consumer
join tenant on tenant.tenant_id = consumer.tenant_id
where
    ($1::text is null or tenant.name = $1)
    and ($2::timestamptz is null or (consumer.created_at, consumer.consumer_id) < ($2, $3::uuid))
order by consumer.created_at desc, consumer.consumer_id desc
limit $4
