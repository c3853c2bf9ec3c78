-- The rows in {table} by origin, and the pass of {flow} that it is. A purged dead letter may have been replayed before. How many
-- records wrote the rows is counted only where they are more than records were written, of all such origins at once: rows
-- have no index by origin.
with x as materialized (
    select r.origin, r.number, r.least, r.greatest, p.flow, p.stream, p.partition, p.pass, p.next,
        (
            select coalesce(min(b.first), 0) from batches b
            where b.flow = p.flow and b.stream = p.stream and b.partition = p.partition and b.pass = p.pass
        ) as begins,
        (
            select cast(coalesce(sum(b.written), 0) as bigint) from batches b
            where b.flow = p.flow and b.stream = p.stream and b.partition = p.partition and b.pass = p.pass
        ) as written,
        (
            select count(*) from dead_letters d
            where d.flow = p.flow and d.stream = p.stream and d.partition = p.partition and d.pass = p.pass
                and d.state in ('replayed', 'purged')
        ) as replayed
    from (
        select t.origin, count(*) as number, min(t.position) as least, max(t.position) as greatest
        from {table} t
        group by t.origin
    ) r
    left join positions p on p.id = r.origin and p.flow = '{flow}'
)
select x.*, coalesce(y.records, x.number) as records
from x
left join (
    select t.origin, count(distinct t.position) as records from {table} t
    where t.origin in (select x.origin from x where x.number > x.written + x.replayed)
    group by t.origin
) y on y.origin = x.origin
order by x.origin
