with wanted as (
    select id, name, consumer, plan, scopes
    from jsonb_to_recordset($1) as entry (id uuid, name text, consumer text, plan text, scopes jsonb)
)
insert into application (application_id, name, consumer_id, plan_id, scopes, managed_by)
select
    wanted.id,
    wanted.name,
    consumer.consumer_id,
    plan.plan_id,
    array(select jsonb_array_elements_text(wanted.scopes)),
    'file'
from wanted
join consumer on consumer.name = wanted.consumer
left join plan on plan.name = wanted.plan
on conflict (name) do update
set consumer_id = excluded.consumer_id, plan_id = excluded.plan_id, scopes = excluded.scopes, updated_at = now()
returning
    application_id,
    name,
    consumer_id,
    (select plan.name from plan where plan.plan_id = application.plan_id) as plan,
    scopes
