insert into item (name, quantity) values ($1, $2) returning item_id as id, name, quantity, created_at
