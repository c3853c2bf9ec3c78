-- Every pass, and what the ledger says of it.
select p.flow, p.stream, p.partition, p.pass, p.id as origin, p.log, p.label, p.next, cast(p.cursor as text) as cursor,
    case when p.ended_at is null then 0 else 1 end as has_ended,
    coalesce(b.batches, 0) as batches, b.last,
    coalesce(b.read, 0) as read, coalesce(b.written, 0) as written, coalesce(b.superseded, 0) as superseded,
    coalesce(b.skipped, 0) as skipped, coalesce(b.dead_lettered, 0) as dead_lettered
from positions p
left join (
    select e.flow, e.stream, e.partition, e.pass, count(*) as batches, max(e.last) as last,
        cast(sum(e.read) as bigint) as read, cast(sum(e.written) as bigint) as written,
        cast(sum(e.superseded) as bigint) as superseded, cast(sum(e.skipped) as bigint) as skipped,
        cast(sum(e.dead_lettered) as bigint) as dead_lettered
    from batches e
    group by e.flow, e.stream, e.partition, e.pass
) b on b.flow = p.flow and b.stream = p.stream and b.partition = p.partition and b.pass = p.pass
order by p.flow, p.stream, p.partition, p.pass
