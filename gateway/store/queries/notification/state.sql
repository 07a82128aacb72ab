select state from notification where notification_id = $1
