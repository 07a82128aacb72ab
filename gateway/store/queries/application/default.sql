-- `default` first; a second row tells the caller that there is a choice. Twenty-one, so that twenty can be named.
select application_id, name from application order by name <> 'default', name limit 21
