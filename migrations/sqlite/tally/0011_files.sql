-- What became of the files that were found at a place: a version of a name each.
create table files (
    flow text not null,
    place text not null,
    name text not null,
    version text not null,
    size integer not null,
    modified_at text not null,
    fingerprint text,
    state text not null,
    message text,
    attempts integer not null,
    first_seen_at text not null default (strftime('%Y-%m-%d %H:%M:%f', 'now')),
    updated_at text not null,
    primary key (flow, place, name, version)
) strict;
