-- One statement, so one moment: the heads, and the authority changes after a revision up to that head. Bodies come as text:
-- one that cannot be read must cost its own row and not the statement.
with head as (
    select
        max(epoch) as epoch,
        (array_agg(epoch_id order by lane))[1] as epoch_id,
        max(rev) filter (where lane = 'authority') as authority,
        max(rev) filter (where lane = 'structural') as structural
    from control_head
)
select
    head.epoch as "head_epoch!",
    head.epoch_id as "head_epoch_id!",
    head.authority as "head_authority!",
    head.structural as "head_structural!",
    log.epoch as "epoch?",
    log.rev as "rev?",
    log.ordinal as "ordinal?",
    log.n_rows as "n_rows?",
    log.kind as "kind?",
    log.entity as "entity?",
    log.body::text as "body?"
from head
left join control_log as log on log.lane = 'authority' and log.rev > $1 and log.rev <= head.authority
order by log.rev, log.ordinal
limit $2
