select
    api_key.key_id as "id!",
    api_key.name as "name!",
    api_key.application_id as "application_id!",
    application.name as "application_name!",
    application.consumer_id as "consumer_id!",
    consumer.name as "consumer_name!",
    tenant.name as "tenant!",
    api_key.prefix as "prefix!",
    api_key.last_four as "last_four!",
    api_key.scopes as "scopes?",
    plan.name as "plan?",
    api_key.restrictions as "restrictions!",
    api_key.state as "state!",
    api_key.expires_at as "expires_at!",
    api_key.created_at as "created_at!",
    api_key.created_by as "created_by!",
    api_key.rolled_at as "rolled_at?",
    api_key.previous_until as "previous_until?",
    api_key.previous_last_four as "previous_last_four?",
    api_key.revoked_at as "revoked_at?",
    api_key.revoked_by as "revoked_by?",
    api_key.revoked_reason as "revoked_reason?",
    api_key.disabled_by as "disabled_by?",
    api_key.import_from as "import_from?",
    api_key.import_source as "import_source?",
    key_decision.verdict as "verdict?",
    key_decision.reason as "reason?",
    key_decision.decided_at as "decided_at?",
    key_decision.decided_by as "decided_by?"
from api_key
join application on application.application_id = api_key.application_id
join consumer on consumer.consumer_id = application.consumer_id
join tenant on tenant.tenant_id = consumer.tenant_id
left join plan on plan.plan_id = api_key.plan_id
left join key_decision on key_decision.key_id = api_key.key_id
where api_key.key_id = $1
