-- Records to publish: who owns the partition publishes them in the order of their numbers, then deletes them.
create table outbox (
    flow text not null,
    stream text not null,
    partition integer not null,
    number bigint not null,
    topic text not null,
    key bytea,
    value bytea,
    headers json not null,
    created_at timestamptz not null,
    primary key (flow, stream, partition, number)
);
-- The number of the partition's next one; a pass continues that of the pass before it.
alter table positions add column outbox_next bigint not null default 0;
