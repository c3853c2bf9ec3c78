-- The records whose rows in {table} are not numbered 0, 1, 2.
select t.flow, t.stream, t.partition, t.log, t.position, count(*) as number, cast(max(t.n) as bigint) as greatest
from {table} t
group by t.flow, t.stream, t.partition, t.log, t.position
having count(*) <> max(t.n) + 1 or min(t.n) <> 0
order by t.flow, t.stream, t.partition, t.log, t.position
