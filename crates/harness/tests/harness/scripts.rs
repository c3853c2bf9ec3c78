//! What the scripts of `infra/native` say where a program is missing.

use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use tally_harness::process::Launch;
use tempfile::TempDir;

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../infra/native");
const SOON: Duration = Duration::from_secs(30);

/// Links to all programs but those whose names begin with one of `missing`.
fn programs_but(missing: &[&str], folder: &Path) {
    for folder_of_path in env::split_paths(&env::var_os("PATH").unwrap()) {
        for program in fs::read_dir(folder_of_path).into_iter().flatten().flatten() {
            let name = program.file_name().into_string().unwrap();
            if !missing.iter().any(|missing| name.starts_with(missing)) {
                // The first of a name is the one that is found.
                let _is_there = symlink(program.path(), folder.join(name));
            }
        }
    }
}

/// Where `missing` are not installed, `script` does not start and says what to install.
#[track_caller]
fn check(script: &str, missing: &[&str], says: &str) {
    let (programs, nothing) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    programs_but(missing, programs.path());
    let is_java_missing = missing.contains(&"java");
    let mut start = Launch::new(Path::new(SCRIPTS).join(script)).args(["start"]);
    start = start.env("PATH", programs.path()).env("PG_HOME", nothing.path());
    start = start.env("INFRA_STATE", nothing.path().join("state"));
    start = start.env("INFRA_CACHE", nothing.path().join("cache"));
    if is_java_missing {
        start = start.env("INFRA_JVM", nothing.path());
    }
    let output = start.spawn().wait(SOON);
    assert_eq!(output.code, Some(1), "{output}");
    assert!(output.stderr.contains(says), "{output}");
}

#[test]
fn what_is_missing_is_named_with_its_package() {
    check("kafka.sh", &["java"], "install the packages openjdk-17-jdk-headless and maven");
    check("kafka.sh", &["mvn"], "mvn is not installed: install the package maven");
    check("connect.sh", &["curl"], "curl is not installed: install the package curl");
    check("registry.sh", &["java"], "install the package openjdk-21-jre-headless");
    check("s3.sh", &["go"], "go is not installed: install the package golang-go");
    check("postgres.sh", &["postgres", "pg_config"], "install the package postgresql");
}
