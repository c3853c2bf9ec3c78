-- Who lives, also those who own nothing.
create table workers (
    id text not null primary key,
    flow text not null,
    stream text not null,
    host text not null,
    pid integer not null,
    seen_until text not null
) strict;

-- What people did; result is JSON.
create table acts (
    id text not null primary key,
    at text not null,
    who text not null,
    verb text not null,
    flow text not null,
    target text not null,
    reason text not null,
    result text not null
) strict;

-- Dead letters on their way to a topic, the oldest first.
create index dead_letters_unpublished on dead_letters (flow, failed_at, id)
    where published_at is null and state <> 'purged';
