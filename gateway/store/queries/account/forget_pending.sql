-- Whoever was invited with this address has shown more than whoever asked with it.
delete from account where email = $1 and state = 'pending'
