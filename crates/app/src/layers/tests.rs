use super::*;
use crate::flags::Flags;
use crate::span::Span;

const RULES: &[&str] = &["outlier"];

fn load(
    file: &str,
    environment: &[(&str, &str)],
    change: impl FnOnce(&mut Flags),
) -> Result<Layers, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("settings.toml");
    std::fs::write(&path, file).unwrap();
    let common = Common { config: Some(path.clone()), ..Common::default() };
    let mut flags = Flags { common, ..Flags::default() };
    change(&mut flags);
    let environment =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let shown = path.display().to_string();
    Layers::from_parts(Settings::default(), &flags.common, environment, flags.given(), RULES)
        .map_err(|stop| stop.message.replace(&shown, "FILE"))
}

#[track_caller]
fn check_error(file: &str, environment: &[(&str, &str)], message: &str) {
    assert_eq!(load(file, environment, |_| {}).err().as_deref(), Some(message));
}

#[test]
fn later_layers_win() {
    let file = "batch_size = 1\nlease = '1s'\n[ml]\nconcurrency = 2";
    let environment = [
        ("TALLY_LEASE", "2s"),
        ("ML_API_URL", "http://a"),
        ("TALLY_QUALITY__OUTLIER__POLICY", "stop"),
        ("TALLY_QUALITY__OUTLIER__THRESHOLD", "0.25"),
    ];
    let layers = load(file, &environment, |flags| flags.ml_url = Some("http://b".into())).unwrap();
    let Settings { batch_size, lease, ml, quality, .. } = layers.settings.clone();
    assert_eq!(
        (batch_size, lease, ml.url.expose(), ml.concurrency),
        (1, Span::seconds(2), "http://b", 2)
    );
    assert_eq!(quality["outlier"].policy, tally_domain::quality::Policy::Stop);

    let shown = layers.show().unwrap();
    for line in [
        "drain = \"10s\" # default",
        "lease = \"2s\" # environment TALLY_LEASE",
        "ml.url = \"http://b\" # flag --ml-url",
        "quality.outlier.policy = \"stop\" # environment TALLY_QUALITY__OUTLIER__POLICY",
        "migrate = true # default",
        "obs.port = 0 # default",
        "quality.outlier.threshold = 0.25 # environment TALLY_QUALITY__OUTLIER__THRESHOLD",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line} not in\n{shown}");
    }
    assert!(shown.contains("batch_size = 1 # file "), "{shown}");
}

#[test]
fn secrets_are_not_shown() {
    let layers = load("", &[("DATABASE_URL", "postgres://me:hidden@db/x")], |_| {}).unwrap();
    assert!(layers.show().unwrap().contains("postgres://***@db/x"));
    assert!(!format!("{:?}{}", layers.settings, layers.show().unwrap()).contains("hidden"));
}

#[test]
fn unknown_names_are_errors() {
    let known = "database_url, batch_size, lease, max_outage, drain, migrate, ml, csv, kafka, quality, budget, privacy, log, obs";
    check_error(
        "bach_size = 1",
        &[],
        &format!("unknown setting bach_size (file FILE): known here are {known}"),
    );
    check_error(
        "",
        &[("TALLY_FOO", "1")],
        &format!("unknown setting foo (environment TALLY_FOO): known here are {known}"),
    );
    check_error(
        "",
        &[("TALLY_ML__FOO", "1")],
        "unknown setting ml.foo (environment TALLY_ML__FOO): known here are url, connect_timeout, answer_timeout, concurrency",
    );
    check_error(
        "[quality.foo]\npolicy='warn'",
        &[],
        "quality.foo is no rule; the rules are outlier",
    );
    assert!(load("", &[("OTHER", "1"), ("TALLY_LEASE", "")], |_| {}).is_ok());
}

#[test]
fn values_out_of_range_are_errors() {
    check_error("batch_size = 0", &[], "batch_size is 0: must be between 1 and 100000");
    check_error("lease = '1ms'", &[], "lease is 1ms: must be between 100ms and 1h");
    check_error("lease = 'never'", &[], "lease is never: must be between 100ms and 1h");
    check_error("ml.concurrency = 65", &[], "ml.concurrency is 65: must be between 1 and 64");
    check_error(
        "quality.outlier.threshold = 1.5",
        &[],
        "quality.outlier.threshold is 1.5: must be between 0 and 1",
    );
}

#[test]
fn values_that_cannot_be_read_are_errors_that_name_their_source() {
    for (file, environment) in [
        ("lease = '5 parsecs'", ("X", "")),
        ("log.format = 'loud'", ("X", "")),
        ("", ("OBS_PORT", "70000")),
        ("", ("TALLY_BATCH_SIZE", "-1")),
        ("batch_size = ", ("X", "")),
        ("csv.decimal = 'dot'", ("X", "")),
    ] {
        let message = load(file, &[environment], |_| {}).err().unwrap();
        let source = if file.is_empty() { environment.0 } else { "FILE" };
        assert!(message.contains(source), "{message}");
    }
}

#[test]
fn a_file_that_is_no_toml_is_not_quoted() {
    let error =
        load("database_url = \"postgres://u:hidden@h/db\nx = 1", &[], |_| {}).err().unwrap();
    assert!(error.contains("line 1") && !error.contains("hidden"), "{error}");
}

#[test]
fn a_named_file_must_be_there() {
    let error =
        load("", &[], |flags| flags.common.config = Some("/nowhere/x.toml".into())).err().unwrap();
    assert!(
        error.starts_with("cannot read the settings' file /nowhere/x.toml: No such file"),
        "{error}"
    );
}
