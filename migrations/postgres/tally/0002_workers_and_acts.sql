-- Who lives, also those who own nothing. Each row is updated several times within a lease: room for it on its page.
create table workers (
    id text primary key,
    flow text not null,
    stream text not null,
    host text not null,
    pid bigint not null,
    seen_until timestamptz not null
) with (fillfactor = 50);

-- What people did.
create table acts (
    id uuid primary key,
    at timestamptz not null,
    who text not null,
    verb text not null,
    flow text not null,
    target text not null,
    reason text not null,
    result json not null
);

-- Dead letters on their way to a topic, the oldest first.
create index dead_letters_unpublished on dead_letters (flow, failed_at, id)
    where published_at is null and state <> 'purged';
