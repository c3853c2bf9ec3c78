-- When the worker last said that it lives: seen_until is that much later as its lease is long. A value ahead of the clock
-- tells that the clock went back. Null for a worker of an earlier version.
alter table workers add column seen_at text;
-- Those who live say so again within a second; of the others nobody knows how long their lease was.
delete from workers;
