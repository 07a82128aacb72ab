insert into notification (kind, channel, address, data)
select operators.kind, receiver.channel, receiver.address, operators.data
from notification as operators,
    unnest($2::text [], $3::text []) as receiver (channel, address)
where operators.notification_id = $1
