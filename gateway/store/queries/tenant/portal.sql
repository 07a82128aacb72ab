-- The compiler sees to it that there is one at most.
select name, body from tenant where body ? 'portal' order by name limit 1
