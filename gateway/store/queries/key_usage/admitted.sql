-- Requests on some routes that limits let through: what a quota is used for.
select coalesce(sum(requests - denied), 0)::bigint as "requests!"
from key_usage
where
    grain = $1::text::"char"
    and at >= $2
    and ($3::text is null or key_id = $3)
    and ($4::text is null or application = $4)
    -- By the applications that the consumer has: they have an index, and a consumer has none.
    and (
        $5::text is null
        or consumer = $5
        and application = any(
            select application.name
            from application
            join consumer on consumer.consumer_id = application.consumer_id
            where consumer.name = $5
        )
    )
    and route = any($6)
