-- What became of the files that were found at a place: a version of a name each.
create table files (
    flow text not null,
    place text not null,
    name text not null,
    version text not null,
    size bigint not null,
    modified_at timestamp not null,
    fingerprint text,
    state text not null,
    message text,
    attempts integer not null,
    first_seen_at timestamp not null default (clock_timestamp() at time zone 'utc'),
    updated_at timestamp not null,
    primary key (flow, place, name, version)
);
