-- The entries of {flow} that no later pass over the same log has read again, and at how many of their positions there are
-- appended rows: {positions}. Written after all may be what was purged since, and what an earlier pass refused, too.
select cast(b.id as text) as id, b.flow, b.stream, b.partition, b.pass, b.first, b.last, b.written,
    (
        select count(distinct d.position) from dead_letters d
        where d.flow = b.flow and d.stream = b.stream and d.partition = b.partition and d.pass = b.pass
            and d.position >= b.first and d.position <= b.last
            and (d.state in ('replayed', 'purged') or d.state in ('discarded', 'repaired') and exists (
                select 1 from positions o cross join dead_letters e
                where o.flow = d.flow and o.stream = d.stream and o.partition = d.partition and o.log = p.log and o.pass < d.pass
                    and e.flow = o.flow and e.stream = o.stream and e.partition = o.partition and e.pass = o.pass
                    and e.position = d.position and e.state in ('replayed', 'purged')
            ))
    ) as replayed,
    (select count(*) from ({positions}) x) as records
from batches b
join positions p on p.flow = b.flow and p.stream = b.stream and p.partition = b.partition and p.pass = b.pass
where b.flow = '{flow}' and b.gap is null
    and not exists (
        select 1 from positions q
        where q.flow = b.flow and q.stream = b.stream and q.partition = b.partition and q.pass > b.pass and q.log = p.log
            and (
                -- A range that was passed over as a whole leaves the rows as they were.
                select case when c.last >= b.first and (c.gap is null or c.first > b.first) then 1 else 0 end
                from batches c
                where c.flow = q.flow and c.stream = q.stream and c.partition = q.partition and c.pass = q.pass
                    and c.first <= b.last
                order by c.first desc
                limit 1
            ) = 1
    )
order by b.flow, b.stream, b.partition, b.pass, b.first
