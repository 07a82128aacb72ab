select team_member.consumer_id, consumer.name as consumer_name, tenant.name as tenant, team_member.role
from team_member
join consumer on consumer.consumer_id = team_member.consumer_id
join tenant on tenant.tenant_id = consumer.tenant_id
where team_member.account_id = $1
order by consumer.name
