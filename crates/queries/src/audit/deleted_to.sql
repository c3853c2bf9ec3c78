-- The last position of the log $1 to $4 that a row in {table} may be of that was deleted as an old one.
select coalesce(max(b.last), -1) as last
from batches b
join positions p on p.flow = b.flow and p.stream = b.stream and p.partition = b.partition and p.pass = b.pass
where b.flow = $1 and b.stream = $2 and b.partition = $3 and p.log = $4
    and b.started_at < (select max({before}) from acts a where a.verb = 'retention' and a.flow = $1 and a.target = '{table}')
