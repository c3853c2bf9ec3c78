-- passed: how many offsets of a topic's range have no record, by why; so last - first + 1 = read + their sum. detail: a flow's own
-- split of what was written and skipped.
alter table batches add column passed text not null default '{}';
alter table batches add column detail text;
update batches
set passed = json_object(
    case when gap is null then 'unknown' when gap like 'compacted:%' then 'hole' else 'gap' end, last - first + 1 - read)
where stream not like 'file/%' and last - first + 1 > read;
