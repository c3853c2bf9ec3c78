use super::*;
use crate::flags::Flags;
use crate::span::Span;

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
    let flows = Flows::new(tally_flows::all()).unwrap();
    let flow = &*flows.first().flow;
    let given = flags.given();
    Layers::from_parts(Settings::default(), &flags.common, environment, &given, &flows, flow)
        .map_err(|stop| stop.message.replace(&shown, "FILE"))
}

#[test]
fn later_layers_win() {
    let file = "batch_size = 1\nlease = '1s'\n[ml]\nconcurrency = 2";
    let environment = [
        ("TALLY_LEASE", "2s"),
        ("TALLY_BATCH_SIZE", ""),
        ("ML_API_URL", "http://a"),
        ("TALLY_QUALITY__OUTLIER__POLICY", "stop"),
        ("OTHER", "1"),
    ];
    let layers = load(file, &environment, |flags| flags.ml_url = Some("http://b".into())).unwrap();
    let Settings { batch_size, lease, ml, quality, .. } = layers.settings;
    assert_eq!(
        (batch_size, lease, ml.url.expose(), ml.concurrency),
        (1, Span::seconds(2), "http://b", 2)
    );
    assert_eq!(quality.of("outlier").policy, tally_domain::quality::Policy::Stop);
}

#[test]
fn secrets_are_not_shown() {
    let layers = load("", &[("DATABASE_URL", "postgres://me:hidden@db/x")], |_| {}).unwrap();
    assert!(layers.show().unwrap().contains("postgres://***@db/x"));
    assert!(!format!("{:?}{}", layers.settings, layers.show().unwrap()).contains("hidden"));
}

#[test]
fn a_file_that_is_no_toml_is_not_quoted() {
    let error =
        load("database_url = \"postgres://u:hidden@h/db\nx = 1", &[], |_| {}).err().unwrap();
    assert!(error.contains("line 1") && !error.contains("hidden"), "{error}");
}

#[test]
fn a_value_of_the_wrong_type_is_not_quoted() {
    for file in ["[kafka.sasl]\npassword = 12345678", "[kafka]\nsasl = \"me:12345678\""] {
        let error = load(file, &[], |_| {}).err().unwrap();
        assert!(error.contains("invalid type: found ") && !error.contains("1234"), "{error}");
    }
}

/// A header's names may have points in them, in whatever layer.
#[test]
fn names_that_are_mapped_are_kept_whole() {
    let file = "[csv.columns]\n'a.b' = 'id'\n[flows.transactions.csv.columns]\n'c.d' = 'amount'";
    let environment = [("TALLY_CSV__COLUMNS", r#"{"e f" = "side"}"#)];
    let layers = load(file, &environment, |_| {}).unwrap();
    let columns: Vec<(&str, &str)> =
        layers.settings.csv.columns.iter().map(|(name, column)| (&**name, &**column)).collect();
    assert_eq!(columns, [("a.b", "id"), ("c.d", "amount"), ("e f", "side")]);
    let shown = layers.show().unwrap();
    assert!(
        shown.contains(r#"csv.columns = {"a.b" = "id", "c.d" = "amount", "e f" = "side"} # "#),
        "{shown}"
    );
}
