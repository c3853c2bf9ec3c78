-- Writes one row of a dead letter that is replayed, unless something newer is there: a later record of the same origin,
-- or any of another one. Null when it was written, `superseded`, or the SQLSTATE with which the database refuses it;
-- anything else that fails is raised, with the SQLSTATE as its message, since other messages may quote values.
create function transactions_replay(
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
    when data_exception or integrity_constraint_violation then
        return sqlstate;
    when others then
        raise exception using errcode = sqlstate, message = sqlstate;
end
$$;
