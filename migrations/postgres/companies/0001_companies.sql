-- Each event of a company as it came. Times are UTC.
create table companies_raw (
    flow text not null, stream text not null, partition integer not null, log bigint not null, position bigint not null,
    n integer not null,
    event text not null,
    id text not null,
    name text not null,
    organization_id text not null,
    created_at timestamp not null,
    updated_at timestamp not null,
    changes json,
    ingested_at timestamp not null default (now() at time zone 'utc'),
    primary key (flow, stream, partition, log, position, n)
);
create index companies_raw_by_id on companies_raw (id);
create index companies_raw_by_ingestion on companies_raw (ingested_at);

-- The newest version of each.
create table companies (
    id text not null primary key,
    name text not null,
    organization_id text not null,
    created_at timestamp not null,
    updated_at timestamp not null,
    origin bigint not null,
    position bigint not null
);
create index companies_by_organization on companies (organization_id);

-- The same from the events: the last one of a partition, of several partitions the one that was ingested last.
create view companies_latest as
select id, name, organization_id, created_at, updated_at, stream, partition, log, position
from (
    select p.*, row_number() over (partition by id order by ingested_at desc, stream, partition) as age
    from (
        select r.*, row_number() over (partition by id, stream, partition order by log desc, position desc, n desc) as age_there
        from companies_raw r
    ) p
    where age_there = 1
) x
where age = 1;

-- Each version with the time from which and to which it held, in the order of its partition; the newest holds still.
create view companies_history as
select id, name, organization_id, created_at, event, changes, updated_at as valid_from,
    lead(updated_at) over (partition by id, stream, partition order by log, position, n) as valid_to,
    stream, partition, log, position
from companies_raw;

create table insolvencies (
    organization_id text not null primary key,
    insolvency_ts timestamp not null,
    origin bigint not null,
    position bigint not null
);

create view company_insolvencies as
select c.id, c.name, c.organization_id, i.insolvency_ts
from companies c
join insolvencies i on i.organization_id = c.organization_id;
