select account_id as id, email, name, state, role, organization, created_at
from account
where account_id = $1
