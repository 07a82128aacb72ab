-- `day` repeats what `at` says, so that whole partitions are left out; 1970-01-01 holds events whose clock was not believed.
select node, incarnation, seq, at, event
from audit_event
where
    ($1::text is null or tenant = $1)
    and ($2::text is null or consumer = $2)
    and ($3::text is null or key_id = $3)
    and ($4::text is null or request_id = $4)
    and ($5::text is null or route = $5)
    and ($6::text is null or method = $6)
    and ($7::text is null or action = $7)
    and ($8::text is null or decision = $8)
    and ($9::text is null or class = $9)
    and ($10::text is null or phase = $10)
    and ($11::text is null or region = $11)
    and ($12::smallint is null or status >= $12)
    and ($13::smallint is null or status <= $13)
    and ($14::timestamptz is null or (at >= $14 and (day >= ($14 at time zone 'utc')::date or day = '1970-01-01')))
    and ($15::timestamptz is null or (at < $15 and day <= ($15 at time zone 'utc')::date))
    and ($16::timestamptz is null or (at, node, incarnation, seq) < ($16, $17::text, $18::bigint, $19::bigint))
order by at desc, node desc, incarnation desc, seq desc
limit $20
