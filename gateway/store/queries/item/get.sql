select item_id as id, name, quantity, created_at from item where item_id = $1
