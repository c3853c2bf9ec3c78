-- Both functions answer for a refused row what `tally_refusal` makes of it: not only for data exceptions and integrity
-- constraints, and with the constraint's name.

-- Upserts one row. Null, or why the database refuses it.
create or replace function transactions_upsert(
    row_id uuid,
    row_description text,
    row_cents bigint,
    row_timestamp timestamp,
    row_merchant text,
    row_operation_type text,
    row_side text,
    row_category text,
    row_origin bigint,
    row_position bigint
) returns text language plpgsql as $$
declare
    at_constraint text;
    at_table text;
    at_column text;
begin
    insert into transactions
        (id, description, amount, timestamp, merchant, operation_type, side, category, origin, position)
    values
        (row_id, row_description, row_cents * 0.01, row_timestamp, row_merchant, row_operation_type, row_side,
         row_category, row_origin, row_position)
    on conflict (id) do update set
        description = excluded.description, amount = excluded.amount, timestamp = excluded.timestamp,
        merchant = excluded.merchant, operation_type = excluded.operation_type, side = excluded.side,
        category = excluded.category, origin = excluded.origin, position = excluded.position;
    if not found then
        return '02000'; -- no_data: a trigger left the row out
    end if;
    return null;
exception
    when others then
        get stacked diagnostics
            at_constraint = constraint_name, at_table = table_name, at_column = column_name;
        return tally_refusal(
            sqlstate, at_constraint, at_table, at_column, 'transactions', '{select, insert, update}');
end
$$;

-- Writes one row of a dead letter that is replayed, unless something newer is there: a later record of the same origin,
-- or any of another one. Null when it was written, `superseded`, or why the database refuses it.
create or replace function transactions_replay(
    row_id uuid,
    row_description text,
    row_cents bigint,
    row_timestamp timestamp,
    row_merchant text,
    row_operation_type text,
    row_side text,
    row_category text,
    row_origin bigint,
    row_position bigint
) returns text language plpgsql as $$
declare
    at_constraint text;
    at_table text;
    at_column text;
begin
    insert into transactions as t
        (id, description, amount, timestamp, merchant, operation_type, side, category, origin, position)
    values
        (row_id, row_description, row_cents * 0.01, row_timestamp, row_merchant, row_operation_type, row_side,
         row_category, row_origin, row_position)
    on conflict (id) do update set
        description = excluded.description, amount = excluded.amount, timestamp = excluded.timestamp,
        merchant = excluded.merchant, operation_type = excluded.operation_type, side = excluded.side,
        category = excluded.category, origin = excluded.origin, position = excluded.position
    where t.origin = excluded.origin and t.position < excluded.position;
    if found then
        return null;
    end if;
    perform from transactions as t
        where t.id = row_id and not (t.origin = row_origin and t.position < row_position);
    if found then
        return 'superseded';
    end if;
    return '02000'; -- no_data: a trigger left the row out
exception
    when others then
        get stacked diagnostics
            at_constraint = constraint_name, at_table = table_name, at_column = column_name;
        return tally_refusal(
            sqlstate, at_constraint, at_table, at_column, 'transactions', '{select, insert, update}');
end
$$;
