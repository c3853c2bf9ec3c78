-- Why a dead letter was outdated without a replay; null for any other.
alter table dead_letters add column outdated_by text check (outdated_by in ('position', 'key'));
-- The row of a key outdates the open dead letters of earlier passes and of other files. A key may be longer than a row of
-- another kind of index.
create index dead_letters_open_streams on dead_letters (flow, stream, pass) where state = 'open' and key is not null;
create index dead_letters_open_keys on dead_letters using hash (key) where state = 'open' and key is not null;
