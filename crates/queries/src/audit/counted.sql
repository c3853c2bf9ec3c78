-- The ranges whose records are in the counters of {flow}.
select c.flow, c.stream, c.partition, c.log, c.first, c.last
from counted c
where c.flow = '{flow}'
order by c.stream, c.partition, c.log, c.first
