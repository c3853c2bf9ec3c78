-- How far each partition was read, what was committed, what could not be written.
-- Times are UTC texts, YYYY-MM-DD HH:MM:SS.SSS, taken from SQLite's own clock; cursor, stats, quality and headers are JSON.

create table positions (
    id integer primary key autoincrement,
    flow text not null,
    stream text not null,
    partition integer not null,
    pass integer not null,
    label text not null,
    next integer not null default 0,
    cursor text not null default 'null',
    stats text not null default 'null',
    epoch integer not null,
    owner text,
    lease_until text,
    ended_at text,
    updated_at text not null,
    unique (flow, stream, partition, pass)
) strict;

create table batches (
    id text not null primary key,
    flow text not null,
    stream text not null,
    partition integer not null,
    pass integer not null,
    first integer not null,
    last integer not null,
    read integer not null,
    written integer not null,
    superseded integer not null,
    skipped integer not null,
    dead_lettered integer not null,
    quality text not null,
    gap text,
    started_at text not null,
    committed_at text not null,
    worker text not null,
    unique (flow, stream, partition, pass, first)
) strict;

create table dead_letters (
    id text not null primary key,
    flow text not null,
    stream text not null,
    partition integer not null,
    pass integer not null,
    position integer not null,
    attempt integer not null,
    batch_id text not null,
    key blob,
    payload blob,
    headers text not null,
    stage text not null,
    code text not null,
    message text not null,
    state text not null default 'open'
        check (state in ('open', 'retried', 'replayed', 'outdated', 'discarded', 'purged')),
    failed_at text not null,
    published_at text,
    unique (flow, stream, partition, pass, position, attempt)
) strict;
