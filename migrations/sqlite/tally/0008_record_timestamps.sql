-- When the record was written to its topic; null for that of a file.
alter table dead_letters add column record_timestamp text;
create index dead_letters_batch_id on dead_letters (batch_id);
