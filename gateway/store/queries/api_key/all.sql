select
    api_key.key_id as "id!",
    api_key.digest as "digest!",
    coalesce(api_key.peppers, array[api_key.pepper_version]) as "peppers!",
    api_key.secret_number as "secret_number!",
    api_key.previous_digest as "previous_digest?",
    api_key.previous_peppers as "previous_peppers?",
    api_key.previous_until as "previous_until?",
    case when api_key.replaced_number = api_key.secret_number then api_key.previous_number end as "previous_number?",
    api_key.application_id as "application_id!",
    api_key.prefix as "prefix!",
    api_key.scopes as "scopes?",
    plan.name as "plan?",
    nullif(api_key.restrictions, '{}'::jsonb) as "restrictions?",
    api_key.state as "state!",
    api_key.expires_at as "expires_at!",
    api_key.import_lookup as "import_lookup?",
    api_key.import_peppers as "import_peppers?",
    case when api_key.state <> 'revoked' then api_key.import_prefix end as "import_prefix?",
    case when api_key.state <> 'revoked' then api_key.import_sealed end as "import_sealed?",
    case when api_key.state <> 'revoked' then api_key.import_sealed_pepper end as "import_sealed_pepper?"
from api_key
left join plan on plan.plan_id = api_key.plan_id
