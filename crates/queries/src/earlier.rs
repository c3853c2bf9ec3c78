//! The SQL about what earlier passes over a log left behind. The first four parameters are flow, stream, partition and log.

/// The open dead letters of the positions from the fifth parameter to the sixth.
pub const OPEN: &str = "
    select d.position, not exists (
            select 1 from batches b join positions q
                on q.flow = b.flow and q.stream = b.stream and q.partition = b.partition and q.pass = b.pass
            where b.flow = d.flow and b.stream = d.stream and b.partition = d.partition and b.pass < d.pass
                and q.log = p.log and b.first <= d.position and b.last >= d.position and b.read > 0
        ) as is_uncounted
    from dead_letters d join positions p
        on p.flow = d.flow and p.stream = d.stream and p.partition = d.partition and p.pass = d.pass
    where d.flow = $1 and d.stream = $2 and d.partition = $3 and p.log = $4 and d.position between $5 and $6
        and d.state = 'open'
    order by d.id";

/// The ranges that were counted and have something of the positions from the fifth parameter to the sixth.
pub const COUNTED: &str = "
    select c.first, c.last from counted c
    where c.flow = $1 and c.stream = $2 and c.partition = $3 and c.log = $4 and c.last >= $5 and c.first <= $6";

pub const FORGET: &str = "
    delete from counted
    where flow = $1 and stream = $2 and partition = $3 and log = $4 and last >= $5 and first <= $6";

pub const NOTE: &str = "
    insert into counted (flow, stream, partition, log, first, last) values ($1, $2, $3, $4, $5, $6)";

/// The open dead letters of the position that is the fifth parameter are replayed.
pub const CLOSE: &str = "
    update dead_letters set state = 'replayed'
    where flow = $1 and stream = $2 and partition = $3 and state = 'open' and pass in (
            select p.pass from positions p where p.flow = $1 and p.stream = $2 and p.partition = $3 and p.log = $4
        ) and position = $5";

/// The dead letters of the batch that is the fifth parameter take the states of earlier ones of the same positions, where
/// somebody has decided what becomes of them.
pub const TAKE_OVER: &str = "
    update dead_letters set state = (
        select e.state from dead_letters e join positions p
            on p.flow = e.flow and p.stream = e.stream and p.partition = e.partition and p.pass = e.pass
        where e.flow = $1 and e.stream = $2 and e.partition = $3 and p.log = $4
            and e.position = dead_letters.position and e.pass < dead_letters.pass and e.state in ('repaired', 'discarded')
        order by e.pass desc, e.attempt desc limit 1
    )
    where batch_id = $5 and exists (
        select 1 from dead_letters e join positions p
            on p.flow = e.flow and p.stream = e.stream and p.partition = e.partition and p.pass = e.pass
        where e.flow = $1 and e.stream = $2 and e.partition = $3 and p.log = $4
            and e.position = dead_letters.position and e.pass < dead_letters.pass and e.state in ('repaired', 'discarded')
    )";
