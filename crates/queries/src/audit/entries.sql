-- The ledger, or the part of it that {which} chooses.
select cast(b.id as text) as id, b.flow, b.stream, b.partition, b.pass, b.first, b.last, b.read, b.written, b.superseded, b.skipped,
    b.dead_lettered, case when b.gap is null then 0 else 1 end as is_gap, cast(b.passed as text) as passed,
    (
        select count(*) from dead_letters d
        where d.flow = b.flow and d.stream = b.stream and d.partition = b.partition and d.pass = b.pass
            and d.position >= b.first and d.position <= b.last and d.attempt = 1 and d.batch_id = b.id
    ) as dead_letters
from batches b {which}
order by b.flow, b.stream, b.partition, b.pass, b.first
