-- How far each partition was read, and who may go on. Each commit updates one row: room for it on its page.
create table positions (
    id bigint generated always as identity primary key,
    flow text not null,
    stream text not null,
    partition integer not null,
    pass integer not null,
    label text not null,
    next bigint not null,
    cursor json,
    stats json,
    epoch bigint not null,
    owner text,
    lease_until timestamptz,
    ended_at timestamptz,
    updated_at timestamptz not null,
    unique (flow, stream, partition, pass)
) with (fillfactor = 50);

-- The ledger: one row for each batch committed.
create table batches (
    id uuid primary key,
    flow text not null,
    stream text not null,
    partition integer not null,
    pass integer not null,
    first bigint not null,
    last bigint not null,
    read bigint not null,
    written bigint not null,
    superseded bigint not null,
    skipped bigint not null,
    dead_lettered bigint not null,
    quality json not null,
    gap text,
    started_at timestamptz not null,
    committed_at timestamptz not null,
    worker text not null,
    unique (flow, stream, partition, pass, first)
);

-- json, not jsonb: names of headers may hold what jsonb refuses.
create table dead_letters (
    id uuid primary key,
    flow text not null,
    stream text not null,
    partition integer not null,
    pass integer not null,
    position bigint not null,
    attempt integer not null,
    batch_id uuid not null,
    key bytea,
    payload bytea,
    headers json not null,
    stage text not null,
    code text not null,
    message text not null,
    state text not null default 'open'
        check (state in ('open', 'retried', 'replayed', 'outdated', 'discarded', 'purged')),
    failed_at timestamptz not null,
    published_at timestamptz,
    unique (flow, stream, partition, pass, position, attempt)
);

create index dead_letters_batch_id on dead_letters (batch_id);
