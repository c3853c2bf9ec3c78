-- Every dead letter, and the batch that it names.
select cast(d.id as text) as id, d.flow, d.stream, d.partition, d.pass, d.position, d.attempt, d.state,
    cast(d.batch_id as text) as batch_id, b.first, b.last,
    case when b.flow = d.flow and b.stream = d.stream and b.partition = d.partition and b.pass = d.pass then 1 else 0 end
        as is_of_pass
from dead_letters d
left join batches b on b.id = d.batch_id
order by d.flow, d.stream, d.partition, d.pass, d.position, d.attempt
