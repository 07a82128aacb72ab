-- Whoever was invited with this address, or whom a provider vouches for, has shown more than whoever asked with it.
delete from account where email = $1 and state = 'pending'
