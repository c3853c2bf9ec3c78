-- When the worker last said that it lives: seen_until is that much later as its lease is long. A value ahead of the clock
-- tells that the clock went back. Null for a worker of an earlier version.
alter table workers add column seen_at timestamptz;
-- Those who live say so again within a second; of the others nobody knows how long their lease was.
delete from workers;

-- What a flow's function for single rows answers for a row that failed with `state`: the SQLSTATE and, after a blank, the
-- name of the constraint. What is not the row's fault is raised again, with the SQLSTATE as its message, since other
-- messages may quote values. The names come from `get stacked diagnostics`; a trigger may have put any text there, so
-- only those of the catalog are told. `needed` are the privileges on `target` that the function's statement takes.
create function tally_refusal(
    state text,
    at_constraint text,
    at_table text,
    at_column text,
    target regclass,
    needed text[]
) returns text language plpgsql as $$
begin
    if left(state, 2) not in ('22', '23') -- data_exception, integrity_constraint_violation
        and state not in ('44000', 'P0001', '54000') -- a view's check option, a trigger's plain raise, an index row too large
        -- Row-level security, which has the state of a missing privilege: of another table a trigger writes, for one.
        and not (state = '42501' and row_security_active(target) and (
            select bool_and(has_table_privilege(target, privilege) or (
                select bool_and(has_column_privilege(target, attnum, privilege)) from pg_attribute
                where attrelid = target and attnum > 0 and not attisdropped))
            from unnest(needed) as privilege))
    then
        raise exception using errcode = state, message = state;
    end if;
    if exists (select from pg_constraint where conname = at_constraint)
        or exists (select from pg_class where relname = at_constraint and relkind in ('i', 'I'))
    then
        return state || ' ' || at_constraint;
    end if;
    if state = '23502' and exists (
        select from pg_attribute join pg_class on pg_class.oid = attrelid
        where relname = at_table and attname = at_column)
    then
        return state || ' ' || at_table || '.' || at_column; -- not null has no name
    end if;
    return state;
end
$$;
