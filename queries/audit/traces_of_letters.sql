-- The newest attempts of the dead letters of the log $4 at the positions from $5 to $6, and whether an earlier pass has read
-- the position, too.
select d.position, d.pass, d.state,
    case when exists (
        select 1 from batches b
        join positions q on q.flow = b.flow and q.stream = b.stream and q.partition = b.partition and q.pass = b.pass
        where b.flow = d.flow and b.stream = d.stream and b.partition = d.partition and b.pass < d.pass
            and q.log = p.log and b.first <= d.position and b.last >= d.position and b.read > 0
    ) then 0 else 1 end as is_first
from dead_letters d
join positions p on p.flow = d.flow and p.stream = d.stream and p.partition = d.partition and p.pass = d.pass
where d.flow = $1 and d.stream = $2 and d.partition = $3 and p.log = $4 and d.position between $5 and $6
    and not exists (
        select 1 from dead_letters e
        where e.flow = d.flow and e.stream = d.stream and e.partition = d.partition and e.pass = d.pass
            and e.position = d.position and e.attempt > d.attempt
    )
order by d.position, d.pass
