select application.application_id as id, application.name, application.consumer_id, plan.name as "plan?", application.scopes
from application
left join plan on plan.plan_id = application.plan_id
