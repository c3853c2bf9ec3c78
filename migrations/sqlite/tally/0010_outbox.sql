-- Records to publish: who owns the partition publishes them in the order of their numbers, then deletes them.
create table outbox (
    flow text not null,
    stream text not null,
    partition integer not null,
    number integer not null,
    topic text not null,
    key blob,
    value blob,
    headers text not null,
    created_at text not null,
    primary key (flow, stream, partition, number)
) strict;
-- The number of the partition's next one; a pass continues that of the pass before it.
alter table positions add column outbox_next integer not null default 0;
