//! The parts of a database URL.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tally_ports::{Fault, StopKind};
use tokio_postgres::Config;
use tokio_postgres::config::Host;

use crate::tls::Tls;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Those that tokio-postgres takes.
const OPTIONS: [&str; 18] = [
    "application_name",
    "channel_binding",
    "connect_timeout",
    "dbname",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "load_balance_hosts",
    "options",
    "password",
    "port",
    "sslnegotiation",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
];
const KEEPALIVE_PROBES: u32 = 3;
/// The socket counts in whole seconds and refuses 0, and with it the connection.
const SHORTEST_KEEPALIVE: Duration = Duration::from_secs(1);

/// Where the database is and how to connect to it. Holds the password: it has no `Debug`.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) config: Config,
    pub(crate) tls: Tls,
    /// Host, port and database, for messages.
    pub(crate) name: Arc<str>,
    /// For all of connecting: TCP, TLS and the server's welcome.
    pub(crate) connect_timeout: Duration,
}

impl Target {
    pub(crate) fn parse(url: &str, lease: Duration) -> Result<Self, Fault> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(setting(
                "the database URL starts with neither postgres:// nor postgresql://",
            ));
        }
        let (url, ssl) = take_ssl_options(url)?;
        let mut config = Config::from_str(&url).map_err(|error| unreadable(&error))?;
        let tls = Tls::new(ssl.mode.as_deref(), ssl.root_cert)?;

        config.ssl_mode(tls.mode());
        if config.get_application_name().is_none() {
            config.application_name("tally");
        }
        let per_host = *config.get_connect_timeout().unwrap_or(&CONNECT_TIMEOUT);
        config.connect_timeout(per_host);
        config.tcp_user_timeout(lease);
        config.keepalives_idle(lease.max(SHORTEST_KEEPALIVE));
        config.keepalives_interval((lease / KEEPALIVE_PROBES).max(SHORTEST_KEEPALIVE));
        config.keepalives_retries(KEEPALIVE_PROBES);

        let hosts = u32::try_from(config.get_hosts().len()).unwrap_or(u32::MAX).max(1);
        let name = name(&config).into();
        Ok(Self { config, tls, name, connect_timeout: per_host.saturating_mul(hosts) })
    }
}

#[derive(Default)]
struct SslOptions {
    mode: Option<String>,
    root_cert: Option<PathBuf>,
}

/// tokio-postgres knows neither `verify-full` nor `sslrootcert`, so both are taken out of the URL.
fn take_ssl_options(url: &str) -> Result<(String, SslOptions), Fault> {
    let mut ssl = SslOptions::default();
    // As tokio-postgres parses it: a password may contain a question mark.
    let credentials = url.find('@').unwrap_or(0);
    let Some(length) = url[credentials..].find('?') else {
        return Ok((url.to_owned(), ssl));
    };
    let (rest, query) = (&url[..credentials + length], &url[credentials + length + 1..]);
    let mut others = Vec::new();
    for option in query.split('&') {
        let decoded = |value| percent_decode_str(value).decode_utf8().map(String::from);
        let not_utf8 = |_| setting("sslmode or sslrootcert in the database URL is not UTF-8");
        match option.split_once('=') {
            Some(("sslmode", value)) => ssl.mode = Some(decoded(value).map_err(not_utf8)?),
            Some(("sslrootcert", value)) => {
                ssl.root_cert = Some(decoded(value).map_err(not_utf8)?.into());
            }
            _ => others.push(option),
        }
    }
    check_known(&others)?;
    let separator = if others.is_empty() { "" } else { "?" };
    Ok((format!("{rest}{separator}{}", others.join("&")), ssl))
}

/// Names an option that is not known, unless it may be a part of the password.
fn check_known(options: &[&str]) -> Result<(), Fault> {
    let names = options.iter().map(|option| option.split('=').next().unwrap_or_default());
    for name in names.take_while(|name| *name != "password") {
        if !OPTIONS.contains(&name)
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        {
            return Err(setting(&format!(
                "the database URL has the option {name}, which is not known; known are {}, sslmode and sslrootcert",
                OPTIONS.join(", ")
            )));
        }
    }
    Ok(())
}

/// Says what is wrong only where that cannot be a part of the password.
fn unreadable(error: &tokio_postgres::Error) -> Fault {
    let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    let detail = if cause.starts_with("invalid value for option") {
        format!(" ({cause})")
    } else {
        String::new()
    };
    setting(&format!(
        "the database URL cannot be read{detail}: write postgres://USER:PASSWORD@HOST:PORT/DATABASE?OPTION=VALUE with \
         special characters of each part percent-encoded and only options that are known"
    ))
}

fn name(config: &Config) -> String {
    let ports = config.get_ports();
    let host = |(index, host): (usize, &Host)| {
        let port = ports.get(index).or(ports.first()).copied().unwrap_or(5432);
        match host {
            Host::Tcp(host) => format!("{host}:{port}"),
            Host::Unix(path) => format!("{}:{port}", path.display()),
        }
    };
    let hosts: Vec<String> = config.get_hosts().iter().enumerate().map(host).collect();
    format!("{}/{}", hosts.join(","), config.get_dbname().unwrap_or_default())
}

fn setting(message: &str) -> Fault {
    Fault::stop(StopKind::Setting, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(5);

    #[track_caller]
    fn refused(url: &str) -> String {
        let Err(Fault::Stop(stop)) = Target::parse(url, LEASE) else { panic!("{url} is taken") };
        assert_eq!(stop.kind, StopKind::Setting);
        stop.message
    }

    #[test]
    fn the_name_shows_neither_user_nor_password() {
        let name = |url| Target::parse(url, LEASE).ok().map(|target| target.name.to_string());
        assert_eq!(name("postgres://u:secret@db/x?sslmode=require").as_deref(), Some("db:5432/x"));
        assert_eq!(name("postgresql://u@a:1,b:2/x").as_deref(), Some("a:1,b:2/x"));
    }

    #[test]
    fn no_message_shows_the_password() {
        for url in [
            "postgres://u:secret@db:port/x",
            "postgres://u:se?cret=1@db/x?sslmode=no",
            "postgres://u:secret@db/x?nosuch=secret",
            "postgres://u:secret@db/x?sslmode=secret",
            "postgres://u:secret@db/x?connect_timeout=secret",
            "mysql://u:secret@db/x",
            "postgres://u:secret%zz@[db/x",
        ] {
            let message = refused(url);
            assert!(!message.contains("secret") && !message.contains("cret"), "{message}");
        }
    }

    #[test]
    fn what_it_does_not_set_stays_as_the_url_has_it() {
        let target = Target::parse("postgres://u@h/d?connect_timeout=2&application_name=x", LEASE)
            .ok()
            .unwrap();
        assert_eq!(target.config.get_application_name(), Some("x"));
        assert_eq!(target.connect_timeout, Duration::from_secs(2));
    }

    #[test]
    fn a_lease_below_a_second_is_no_keepalive_of_zero() {
        let target = Target::parse("postgres://u@h/d", Duration::from_millis(100)).ok().unwrap();
        assert_eq!(target.config.get_keepalives_idle(), Duration::from_secs(1));
        assert_eq!(target.config.get_keepalives_interval(), Some(Duration::from_secs(1)));
    }

    #[test]
    fn a_root_certificate_is_only_for_verify_full() {
        assert!(refused("postgres://u@h/d?sslmode=require&sslrootcert=/x").contains("verify-full"));
        assert!(
            refused("postgres://u@h/d?sslrootcert=%2Fno%2Fsuch&sslmode=verify-full")
                .contains("/no/such")
        );
    }
}
