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
where application.application_id = $1 or application.name = $2
