-- Epochs of the fronted services' databases: one for each server that was seen to take writes on a timeline. A position in a domain's log
-- means something only together with its epoch, and survives into another one only as far as these rows can prove.
set local lock_timeout = '2s';

-- Rows are added, and never changed or deleted: positions that name them are in clients' hands. A domain that is removed from the document
-- keeps its own, and its numbers go on if it comes back.
create table domain_epoch (
    domain text not null,
    number integer not null,
    -- The epoch that it left, and up to where it has all of it: a lower bound. Null when nothing is provable.
    parent integer,
    fork_lsn bigint,
    -- Who writes it: two servers that are promoted apart may write the same timeline of the same cluster.
    system_identifier bigint not null,
    timeline integer not null,
    server text not null,
    begun_at timestamptz not null default now(),
    -- The node that found it.
    begun_by text not null,
    constraint domain_epoch_pk primary key (domain, number),
    constraint domain_epoch_parent_fk foreign key (domain, parent) references domain_epoch (domain, number),
    constraint domain_epoch_domain_check check (domain ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
    constraint domain_epoch_number_check check (number >= 1),
    constraint domain_epoch_fork_check check ((parent is null) = (fork_lsn is null) and parent < number and fork_lsn >= 0),
    constraint domain_epoch_timeline_check check (timeline >= 1),
    constraint domain_epoch_server_check check (octet_length(server) between 3 and 300),
    constraint domain_epoch_begun_by_check check (octet_length(begun_by) between 1 and 63)
);
