select account_id as id, email, name, state, role, organization, created_at, password, pepper_version
from account
where email = $1
