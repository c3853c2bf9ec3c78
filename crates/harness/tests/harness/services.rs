//! `infra/native/services.sh`: the services together, with their schemas.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tally_harness::process::{Launch, Output};
use tempfile::TempDir;

const INFRA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../infra");
const VERY_LONG: Duration = Duration::from_mins(4);

/// Services of its own, stopped with this value.
struct Services {
    state: TempDir,
}

impl Services {
    fn new() -> Self {
        let state = TempDir::new().unwrap();
        // The server's own user must be able to enter.
        fs::set_permissions(state.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self { state }
    }

    fn run(&self, verb: &str) -> Output {
        let mut script = Launch::new(Path::new(INFRA).join("native/services.sh")).args([verb]);
        for port in ["KAFKA", "KAFKA_CONTROLLER", "PG", "REGISTRY", "REGISTRY_MANAGEMENT"] {
            script = script.env(format!("{port}_PORT"), "0");
        }
        script.env("INFRA_STATE", self.state.path()).spawn().wait(VERY_LONG)
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        let _stopped = self.run("down");
    }
}

fn get(url: &str) -> Value {
    let output =
        Launch::new("curl").args(["--silent", "--noproxy", "*", url]).spawn().wait(VERY_LONG);
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{url}: {error}: {output}"))
}

mod serial {
    use super::*;

    #[test]
    fn they_are_up_with_the_schemas_registered_once() {
        let services = Services::new();
        for _ in 0..2 {
            let output = services.run("up");
            assert_eq!(output.code, Some(0), "{output}");
            for name in ["DATABASE_URL", "KAFKA_BOOTSTRAP_SERVERS", "SCHEMA_REGISTRY_URL"] {
                assert!(output.stdout.contains(&format!("export {name}=")), "{output}");
            }
            let (_, registry) = output.stdout.split_once("SCHEMA_REGISTRY_URL=").unwrap();
            for (subject, schema) in
                [("user-login", "user_login_v1"), ("companies", "company_event_v1")]
            {
                let versions = format!("{}/subjects/{subject}-value/versions", registry.trim());
                assert_eq!(get(&versions), json!([1]));
                let latest = get(&format!("{versions}/latest"));
                assert_eq!(latest["schemaType"], "JSON");
                let file = fs::read_to_string(format!("{INFRA}/schemas/{schema}.json")).unwrap();
                let registered: Value =
                    serde_json::from_str(latest["schema"].as_str().unwrap()).unwrap();
                assert_eq!(registered, serde_json::from_str::<Value>(&file).unwrap());
            }
        }
        assert_eq!(services.run("down").code, Some(0));
    }
}
