-- ids are lower-case UUIDs, amounts decimals with two places, timestamps YYYY-MM-DD HH:MM:SS[.ffffff] without a zone.

create table transactions (
    id text not null primary key,
    description text not null,
    amount text not null,
    timestamp text not null,
    merchant text,
    operation_type text not null,
    side text not null check (side in ('debit', 'credit')),
    category text,
    origin integer not null,
    position integer not null
) strict;
