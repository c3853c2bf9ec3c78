-- origin and position say which record of which source wrote the row; no foreign key: its check would cost each row.
create table transactions (
    id uuid primary key,
    description text not null,
    amount numeric(12, 2) not null,
    timestamp timestamp not null,
    merchant text,
    operation_type text not null,
    side text not null check (side in ('debit', 'credit')),
    category text,
    origin bigint not null,
    position bigint not null
);

-- Upserts one row. Null, or the SQLSTATE with which the database refuses it; anything else that fails is raised, with
-- the SQLSTATE as its message, since other messages may quote values.
create function transactions_upsert(
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
    when data_exception or integrity_constraint_violation then
        return sqlstate;
    when others then
        raise exception using errcode = sqlstate, message = sqlstate;
end
$$;
