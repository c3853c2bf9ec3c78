-- The newest attempts of the dead letters of the log $4 at the positions from $5 to $6, and whether no earlier pass over it has
-- read the position.
select d.position, d.pass, d.state, case when d.outdated_by = 'key' then 1 else 0 end as is_outdated_by_key,
    case when exists (
        select 1 from positions q
        where q.flow = p.flow and q.stream = p.stream and q.partition = p.partition and q.log = p.log and q.pass < p.pass
            and (
                select case when b.last >= d.position then b.read else 0 end from batches b
                where b.flow = q.flow and b.stream = q.stream and b.partition = q.partition and b.pass = q.pass
                    and b.first <= d.position
                order by b.first desc
                limit 1
            ) > 0
    ) then 0 else 1 end as is_first
from positions p
cross join dead_letters d -- this order is also that of the loops in SQLite
where p.flow = $1 and p.stream = $2 and p.partition = $3 and p.log = $4
    and d.flow = p.flow and d.stream = p.stream and d.partition = p.partition and d.pass = p.pass
    and d.position between $5 and $6
    and not exists (
        select 1 from dead_letters e
        where e.flow = d.flow and e.stream = d.stream and e.partition = d.partition and e.pass = d.pass
            and e.position = d.position and e.attempt > d.attempt
    )
order by d.position, d.pass
