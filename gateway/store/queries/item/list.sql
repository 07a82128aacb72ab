select item_id as id, name, quantity, created_at from item order by item_id desc limit $1
