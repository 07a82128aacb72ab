select
    api_key.key_id as id,
    api_key.name,
    api_key.application_id,
    application.name as application_name,
    application.consumer_id,
    consumer.name as consumer_name,
    tenant.name as tenant,
    api_key.prefix,
    api_key.last_four,
    api_key.scopes,
    api_key.state,
    api_key.expires_at,
    api_key.created_at,
    api_key.created_by,
    api_key.revoked_at,
    api_key.revoked_by
from api_key
join application on application.application_id = api_key.application_id
join consumer on consumer.consumer_id = application.consumer_id
join tenant on tenant.tenant_id = consumer.tenant_id
where api_key.key_id = $1
