-- The rows in {table} by log, and those of them from positions where {flow} has read nothing.
select t.flow, t.stream, t.partition, t.log, count(*) as number, cast(sum(t.is_strange) as bigint) as strange,
    min(case when t.is_strange = 1 then t.position end) as least, max(case when t.is_strange = 1 then t.position end) as greatest
from (
    select r.flow, r.stream, r.partition, r.log, r.position,
        case when exists (
            select 1 from positions p
            where p.flow = r.flow and p.stream = r.stream and p.partition = r.partition and p.log = r.log and p.flow = '{flow}'
                and (
                    select case when b.last >= r.position then b.read else 0 end from batches b
                    where b.flow = p.flow and b.stream = p.stream and b.partition = p.partition and b.pass = p.pass
                        and b.first <= r.position
                    order by b.first desc
                    limit 1
                ) > 0
        ) then 0 else 1 end as is_strange
    from {table} r
) t
group by t.flow, t.stream, t.partition, t.log
order by t.flow, t.stream, t.partition, t.log
