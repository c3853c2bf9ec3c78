-- The positions of a log whose records were counted: a re-read counts none of them again. Ranges, inclusive, that do not touch.
create table counted (
    flow text not null,
    stream text not null,
    partition integer not null,
    log integer not null,
    first integer not null,
    last integer not null,
    primary key (flow, stream, partition, log, first)
) strict;
-- A corrected record may be on its way to its source: a check can only be changed with its table.
create table dead_letters_with_repaired (
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
        check (state in ('open', 'retried', 'replayed', 'outdated', 'repaired', 'discarded', 'purged')),
    failed_at text not null,
    published_at text,
    unique (flow, stream, partition, pass, position, attempt)
) strict;
insert into dead_letters_with_repaired
select id, flow, stream, partition, pass, position, attempt, batch_id, key, payload, headers, stage, code, message, state,
    failed_at, published_at
from dead_letters;
drop table dead_letters;
alter table dead_letters_with_repaired rename to dead_letters;
create index dead_letters_unpublished on dead_letters (flow, failed_at, id)
    where published_at is null and state <> 'purged';
