-- The rows in {table} whose position the ledger says was passed without a record, by pass. Only rows of passes that
-- have such a range are looked at one by one.
with passes as materialized (
    select distinct p.id, p.flow, p.stream, p.partition, p.pass
    from batches b
    join positions p on p.flow = b.flow and p.stream = b.stream and p.partition = b.partition and p.pass = b.pass
    where b.read = 0 and p.flow = '{flow}'
)
select p.flow, p.stream, p.partition, p.pass, count(*) as number, min(t.position) as least, max(t.position) as greatest
from {table} t
cross join passes p -- this order is also that of the loops in SQLite
where t.origin = p.id
    and (
        select case when b.last >= t.position then b.read else 0 end from batches b
        where b.flow = p.flow and b.stream = p.stream and b.partition = p.partition and b.pass = p.pass
            and b.first <= t.position
        order by b.first desc
        limit 1
    ) = 0
group by p.flow, p.stream, p.partition, p.pass
order by p.flow, p.stream, p.partition, p.pass
