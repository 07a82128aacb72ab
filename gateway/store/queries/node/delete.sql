-- Silent for longer than it may go on without a word, whatever its bound is; a minute more, and for one that has named none, a day.
delete from node
where
    name = $1
    and last_seen < now() - greatest(
        interval '2 minutes',
        coalesce(
            case when bound_incarnation = incarnation then deny_bound_ms * interval '1.001 milliseconds' + interval '2 minutes' end,
            interval '1 day'
        )
    )
