-- The rows in {table} by origin, and the pass of {flow} that it is. A purged dead letter may have been replayed before. How many
-- records wrote the rows is counted only where they are more than records were written.
select x.*,
    case when x.number > x.written + x.replayed
        then (select count(distinct t.position) from {table} t where t.origin = x.origin) else x.number end as records
from (
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
) x
order by x.origin
