-- Which log of that name it is that is read, from 1: raised when a recreated topic is accepted.
alter table positions add column log bigint not null default 1;
