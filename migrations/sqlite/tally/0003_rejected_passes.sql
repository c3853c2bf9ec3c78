-- When a pass was finished of which too many records became dead letters; the same as ended_at then.
alter table positions add column rejected_at text;
