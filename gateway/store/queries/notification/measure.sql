select
    channel as "channel!",
    count(*) filter (where state = 'queued') as "queued!",
    count(*) filter (where state = 'failed') as "failed!",
    coalesce(extract(epoch from now() - min(created_at) filter (where state = 'queued')), 0)::double precision as "oldest_seconds!"
from notification
group by channel
