-- Consumers that no region may serve, because none has a label that they ask for.
select consumer.name
from consumer
where
    consumer.residency is not null
    and not exists (
        select from gateway_resource
        where gateway_resource.kind = 'region' and gateway_resource.body -> 'residency' ?| consumer.residency
    )
order by consumer.name
limit $1
