//! The layers: which crates may know which.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Everything that the inner layers may depend on.
const ALLOWED: [(&str, &[&str]); 3] = [
    ("tally-domain", &["base64", "bytes", "bytestring", "chrono", "serde", "serde_json", "uuid"]),
    (
        "tally-ports",
        &[
            "base64",
            "blake3",
            "bytes",
            "chrono",
            "serde",
            "serde_json",
            "tally-domain",
            "thiserror",
            "uuid",
        ],
    ),
    (
        "tally-pipeline",
        &[
            "backon",
            "chrono",
            "metrics",
            "serde",
            "serde_json",
            "tally-domain",
            "tally-ports",
            "tokio",
            "tokio-util",
            "tracing",
            "uuid",
        ],
    ),
];

/// The normal dependencies of every package of the workspace, by name.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let name = |value: &Value| value["name"].as_str().unwrap().to_owned();
    let normal = |package: &Value| {
        let all = package["dependencies"].as_array().unwrap().iter();
        all.filter(|dependency| dependency["kind"].is_null()).map(name).collect()
    };
    metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| (name(package), normal(package)))
        .collect()
}

#[test]
fn inner_layers_depend_on_nothing_but_what_is_listed() {
    let dependencies = dependencies();
    for (package, allowed) in ALLOWED {
        let allowed: BTreeSet<String> = allowed.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(dependencies[package], allowed, "{package}");
    }
}

#[test]
fn adapters_know_neither_each_other_nor_the_pipeline() {
    let dependencies = dependencies();
    let adapters: Vec<_> =
        dependencies.iter().filter(|(name, _)| name.starts_with("tally-adapter-")).collect();
    assert_eq!(adapters.len(), 6);
    for (adapter, known) in adapters {
        let expected: &[&str] = match adapter.as_str() {
            "tally-adapter-kafka" => &["tally-domain", "tally-kafka-client", "tally-ports"],
            "tally-adapter-s3" => &["tally-ports"],
            "tally-adapter-postgres" | "tally-adapter-sqlite" => {
                &["tally-domain", "tally-ports", "tally-queries"]
            }
            _ => &["tally-domain", "tally-ports"],
        };
        assert_eq!(ours(known), expected, "{adapter}");
    }
    assert_eq!(ours(&dependencies["tally-queries"]), ["tally-domain", "tally-ports"]);
    assert_eq!(ours(&dependencies["tally-json-schema"]), ["tally-domain"]);
    for flow in ["tally-companies", "tally-user-logins"] {
        assert_eq!(ours(&dependencies[flow]), ["tally-domain", "tally-json-schema"]);
    }
    assert!(ours(&dependencies["tally-kafka-client"]).is_empty());
}

#[test]
fn telemetry_and_audit_know_the_ports_only() {
    let dependencies = dependencies();
    for package in ["tally-telemetry", "tally-audit"] {
        assert_eq!(ours(&dependencies[package]), ["tally-ports"], "{package}");
    }
}

fn ours(known: &BTreeSet<String>) -> Vec<&str> {
    known.iter().map(String::as_str).filter(|name| name.starts_with("tally-")).collect()
}
