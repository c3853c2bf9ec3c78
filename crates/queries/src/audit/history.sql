-- The newest versions by {view} that {latest} does not have, of keys with all versions in {versions} in one partition. A row of
-- {latest} whose own version was deleted is left out.
select v.stream, v.partition, v.log, v.position
from {view} v
join (
    select {keys} from {versions} r group by {keys}
    having min(r.stream) = max(r.stream) and min(r.partition) = max(r.partition)
) o on {of_view}
left join {latest} t on {of_row}
left join positions p on p.id = t.origin
where t.origin is null
    or ({differs}) and exists (
        select 1 from {versions} r
        where r.flow = p.flow and r.stream = p.stream and r.partition = p.partition and r.log = p.log and r.position = t.position
    )
order by v.stream, v.partition, v.log, v.position
