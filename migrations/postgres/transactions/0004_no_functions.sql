-- What a record writes is made from the flow's description; the functions for single rows belong to the sessions.
drop function if exists transactions_upsert(uuid, text, bigint, timestamp, text, text, text, text, bigint, bigint);
drop function if exists transactions_replay(uuid, text, bigint, timestamp, text, text, text, text, bigint, bigint);
