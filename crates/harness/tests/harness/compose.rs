//! The compose file, read strictly: an unknown key, a service without a health check, or a variable without a default
//! fails here, where no engine runs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Compose {
    name: String,
    services: BTreeMap<String, Service>,
    volumes: BTreeMap<String, Option<()>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Service {
    image: String,
    build: Option<Build>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    ports: Vec<String>,
    #[serde(default)]
    volumes: Vec<String>,
    /// `docker compose up --wait` waits for health only where it is checked.
    healthcheck: HealthCheck,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Build {
    context: String,
    dockerfile: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HealthCheck {
    test: Vec<String>,
    interval: String,
    timeout: String,
    retries: u32,
}

/// The file with the defaults of its variables in place, as compose reads it without an environment.
fn interpolated(text: &str) -> Result<String, String> {
    let mut parts = text.split('$');
    let mut read = parts.next().unwrap_or_default().to_owned();
    while let Some(part) = parts.next() {
        if part.is_empty() {
            read.push('$'); // `$$` is a dollar sign
            read.push_str(parts.next().unwrap_or_default());
            continue;
        }
        let variable = part.strip_prefix('{').and_then(|part| part.split_once('}'));
        let (variable, rest) =
            variable.ok_or_else(|| format!("${part}: not ${{NAME:-DEFAULT}}"))?;
        let default = variable.split_once(":-").map(|(_, default)| default);
        read.push_str(default.ok_or_else(|| format!("${{{variable}}} has no default"))?);
        read.push_str(rest);
    }
    Ok(read)
}

fn check(text: &str) -> Result<(), String> {
    let compose: Compose =
        serde_saphyr::from_str(&interpolated(text)?).map_err(|error| error.to_string())?;
    if compose.name != "tally" || compose.services.is_empty() {
        return Err("not the services of tally".to_owned());
    }
    for (name, service) in &compose.services {
        service.check(&compose.volumes).map_err(|problem| format!("service {name}: {problem}"))?;
    }
    Ok(())
}

impl Service {
    fn check(&self, volumes: &BTreeMap<String, Option<()>>) -> Result<(), String> {
        if self.image.is_empty() || self.environment.keys().any(String::is_empty) {
            return Err("an empty name".to_owned());
        }
        for port in &self.ports {
            let numbers = port.strip_prefix("127.0.0.1:").and_then(|ports| ports.split_once(':'));
            let is_number = |text: &str| text.parse::<u16>().is_ok();
            if !numbers.is_some_and(|(host, inside)| is_number(host) && is_number(inside)) {
                return Err(format!("port {port} is not 127.0.0.1:HOST:CONTAINER"));
            }
        }
        for volume in &self.volumes {
            let named = volume.split_once(":/").map(|(name, _)| name);
            if !named.is_some_and(|name| volumes.contains_key(name)) {
                return Err(format!("volume {volume} is not declared"));
            }
        }
        if let Some(Build { context, dockerfile }) = &self.build
            && !Path::new(ROOT).join(context).join(dockerfile).is_file()
        {
            return Err(format!("there is no {dockerfile}"));
        }
        self.healthcheck.check()
    }
}

impl HealthCheck {
    fn check(&self) -> Result<(), String> {
        let is_seconds =
            |text: &str| text.strip_suffix('s').is_some_and(|text| text.parse::<u16>().is_ok());
        let kind = self.test.first().map(String::as_str);
        let is_command = self.test.len() > 1 && matches!(kind, Some("CMD" | "CMD-SHELL"));
        if is_command && self.retries > 0 && is_seconds(&self.interval) && is_seconds(&self.timeout)
        {
            return Ok(());
        }
        Err("a health check is [CMD, ...] with interval and timeout in seconds, and retries"
            .to_owned())
    }
}

fn compose_file() -> String {
    fs::read_to_string(Path::new(ROOT).join("docker-compose.yml")).unwrap()
}

#[test]
fn the_compose_file_can_be_started() {
    assert_eq!(check(&compose_file()), Ok(()));
}

#[test]
fn what_is_wrong_in_a_compose_file_is_found() {
    for (from, to, problem) in [
        ("    healthcheck:", "    healthchecks:", "healthchecks"),
        ("  kafka:\n    image:", "  kafka:\n    img:", "img"),
        ("${KAFKA_PORT:-29092}", "${KAFKA_PORT}", "has no default"),
        ("$$POSTGRES_USER", "$POSTGRES_USER", "not ${NAME:-DEFAULT}"),
        ("127.0.0.1:${PG_PORT:-25432}:5432", "5432", "port 5432"),
        ("127.0.0.1:${PG_PORT", "${PG_PORT", "port 25432:5432"),
        ("volumes:\n  kafka:", "volumes:\n  kafkas:", "volume kafka:/var/lib/kafka/data"),
        ("infra/docker/ml-api.Dockerfile", "infra/docker/none.Dockerfile", "none.Dockerfile"),
        ("[CMD, /opt", "[/opt", "a health check is"),
        ("interval: 5s", "interval: soon", "a health check is"),
        ("name: tally", "name: tally\nname: tally", "name"),
    ] {
        let spoiled = compose_file().replacen(from, to, 1);
        assert_ne!(spoiled, compose_file(), "{from}");
        let found = check(&spoiled).unwrap_err();
        assert!(found.contains(problem), "{from}: {found}");
    }
}
