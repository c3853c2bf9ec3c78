create table user_logins_by_device_type (device_type text primary key, logins bigint not null);
create table user_logins_by_locale (locale text primary key, logins bigint not null);
create table user_logins_by_app_version (app_version text primary key, logins bigint not null);
-- UTC.
create table user_logins_by_hour (hour timestamp primary key, logins bigint not null);
