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
    -- Until its text is shown, for as long as that is taken: the first secret is the present one, or the one before in its overlap.
    coalesce(
        api_key.import_sealed is not null
        and api_key.state <> 'revoked'
        and (
            api_key.secret_number = 1
            or (
                api_key.previous_until > now()
                and case when api_key.replaced_number = api_key.secret_number then api_key.previous_number else api_key.secret_number - 1 end = 1
            )
        ),
        false
    ) as "import_waits!",
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
where
    ($1::uuid is null or api_key.application_id = $1)
    and ($2::uuid is null or application.consumer_id = $2)
    and ($3::text is null or api_key.state = $3)
    and ($4::text is null or tenant.name = $4)
    and ($5::timestamptz is null or (api_key.created_at, api_key.key_id) < ($5, $6::bpchar))
order by api_key.created_at desc, api_key.key_id desc
limit $7
