select
    application.application_id as id,
    application.name,
    application.consumer_id,
    consumer.name as consumer_name,
    tenant.name as tenant,
    plan.name as "plan?",
    application.scopes,
    application.managed_by,
    application.created_at
from application
join consumer on consumer.consumer_id = application.consumer_id
join tenant on tenant.tenant_id = consumer.tenant_id
left join plan on plan.plan_id = application.plan_id
where
    ($1::uuid is null or application.consumer_id = $1)
    and ($2::text is null or tenant.name = $2)
    and ($3::timestamptz is null or (application.created_at, application.application_id) < ($3, $4::uuid))
order by application.created_at desc, application.application_id desc
limit $5
