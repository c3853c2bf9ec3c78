create table user_logins_by_device_type (device_type text not null primary key, logins integer not null) strict;
create table user_logins_by_locale (locale text not null primary key, logins integer not null) strict;
create table user_logins_by_app_version (app_version text not null primary key, logins integer not null) strict;
-- UTC.
create table user_logins_by_hour (hour text not null primary key, logins integer not null) strict;
