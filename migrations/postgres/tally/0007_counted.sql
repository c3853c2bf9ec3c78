-- The positions of a log whose records were counted: a re-read counts none of them again. Ranges, inclusive, that do not touch.
create table counted (
    flow text not null,
    stream text not null,
    partition integer not null,
    log bigint not null,
    first bigint not null,
    last bigint not null,
    primary key (flow, stream, partition, log, first)
);
-- A corrected record may be on its way to its source.
alter table dead_letters drop constraint dead_letters_state_check, add constraint dead_letters_state_check
    check (state in ('open', 'retried', 'replayed', 'outdated', 'repaired', 'discarded', 'purged'));
