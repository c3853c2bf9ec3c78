-- The headers of what {flow} has in its outbox: their ids.
select cast(o.headers as text) as headers
from outbox o
where o.flow = '{flow}'
order by o.stream, o.partition, o.number
