//! Settings that are wrong: said in one line that names them, exit 78 (2 where the command line cannot be parsed), and
//! nothing is written.

use std::fs;
use std::net::TcpListener;

use tally_harness::job::Job;
use tally_harness::process::Output;

use crate::support::{Folder, NO_MODEL, SOON, said, table};

/// Runs in a folder with a good file and, if there is one, this `tally.toml`.
fn start(folder: &Folder, toml: &str, env: &[(&str, &str)], flags: &[&str]) -> Output {
    folder.write("good.csv", table([1]));
    if !toml.is_empty() {
        folder.write("tally.toml", toml);
    }
    let job = Job::new("sqlite:made.db").model(NO_MODEL).file("good.csv").flags(flags);
    let job = env.iter().fold(job, |job, (name, value)| job.env(name, value));
    job.launch().current_dir(folder.path()).spawn().wait(SOON)
}

/// The run ends with this code and this line alone, and no file is made.
#[track_caller]
fn check(toml: &str, env: &[(&str, &str)], flags: &[&str], (code, line): (i32, &str)) {
    let folder = Folder::new();
    let output = start(&folder, toml, env, flags);
    assert_eq!(output.code, Some(code), "{toml} {env:?} {flags:?}: {output}");
    assert_eq!(said(&output), [line], "{toml} {env:?} {flags:?}");
    assert_eq!(output.stdout, "");
    let files: &[&str] = if toml.is_empty() { &["good.csv"] } else { &["good.csv", "tally.toml"] };
    assert_eq!(folder.names(), files, "{toml} {env:?} {flags:?}");
}

#[track_caller]
fn wrong_toml(toml: &str, message: &str) {
    check(toml, &[], &[], (78, &format!("error: {message}")));
}

#[track_caller]
fn wrong_env(name: &str, value: &str, message: &str) {
    check("", &[(name, value)], &[], (78, &format!("error: {message}")));
}

/// The command line cannot be parsed; of what is said the first line is this.
#[track_caller]
fn wrong_flags(flags: &[&str], message: &str) {
    let folder = Folder::new();
    let output = start(&folder, "", &[], flags);
    assert_eq!(output.code, Some(2), "{flags:?}: {output}");
    assert_eq!(output.stderr.lines().next(), Some(format!("error: {message}").as_str()));
    assert_eq!((output.stdout.as_str(), folder.names()), ("", vec!["good.csv".to_owned()]));
}

const KNOWN: &str = "database_url, batch_size, lease, max_outage, drain, migrate, ml, csv, watch, columns, kafka, quality, budget, retention, privacy, log, obs, flows";

#[test]
fn flags_that_are_unknown_or_cannot_be_read() {
    for flag in ["--nope", "--brokers", "--topic", "--dryrun", "--Again"] {
        wrong_flags(&[flag], &format!("unexpected argument '{flag}' found"));
    }
    wrong_flags(&["-v"], "unexpected argument '-v' found");
    wrong_flags(
        &["--batch-size"],
        "a value is required for '--batch-size <N>' but none was supplied",
    );
    wrong_flags(
        &["--batch-size", "ten"],
        "invalid value 'ten' for '--batch-size <N>': invalid digit found in string",
    );
    wrong_flags(&["--summary", "xml"], "invalid value 'xml' for '--summary <SUMMARY>'");
    wrong_flags(
        &["--lease", "5"],
        "invalid value '5' for '--lease <TIME>': 5 is not a duration like 500ms, 5s, 5m or never: \
         time unit needed, for example 5sec or 5ms",
    );
    wrong_flags(
        &["--max-outage", "soon"],
        "invalid value 'soon' for '--max-outage <TIME>': soon is not a duration like 500ms, 5s, 5m or never: \
         expected number at 0",
    );
    let output = Job::new("sqlite:made.db").launch().current_dir("/").spawn().wait(SOON);
    assert_eq!(output.code, Some(2));
    assert!(
        output
            .stderr
            .starts_with("error: the following required arguments were not provided:\n  <FILE>...")
    );
}

#[test]
fn names_that_are_unknown() {
    let known_in = |group: &str| match group {
        "ml." => {
            "url, headers, bearer_token, bearer_token_file, connect_timeout, answer_timeout, concurrency, request_size, max_requests_per_second, isolate_errors"
        }
        "csv." => "encoding, decimal, skip_lines, columns, timestamp_formats",
        "kafka." => {
            "brokers, topic, group, start, dlq_topic, registry_url, client_id, linger, timeout, max_batch_bytes, delivery, transactional_id_prefix, progress_topic, report_offsets, tls, ca_file, sasl"
        }
        "kafka.sasl." => "mechanism, username, password",
        "budget." => "ratio, window, in_a_row",
        "watch." => "settle, poll, retry, done_marker",
        "privacy." => "masked",
        "log." => "level, format",
        "obs." => "host, port",
        "quality.outlier." => "threshold, policy",
        "columns.timestamp." => "unit",
        _ => KNOWN,
    };
    for group in [
        "",
        "ml.",
        "csv.",
        "kafka.",
        "kafka.sasl.",
        "quality.outlier.",
        "columns.timestamp.",
        "budget.",
        "watch.",
        "privacy.",
        "log.",
        "obs.",
    ] {
        let known = known_in(group);
        wrong_toml(
            &format!("{group}nope = 1"),
            &format!("unknown setting {group}nope (file tally.toml): known here are {known}"),
        );
        let name = format!("TALLY_{}NOPE", group.replace('.', "__").to_uppercase());
        wrong_env(
            &name,
            "1",
            &format!("unknown setting {group}nope (environment {name}): known here are {known}"),
        );
    }
    for name in ["TALLY_", "TALLY_ML__", "TALLY___LEASE"] {
        wrong_env(name, "1", &format!("the environment variable {name} is not a setting"));
    }
    let rules = "missing_description, missing_merchant, outlier, unknown_operation_type, repeated_id, \
         change_mismatch, organization_changed, same_timestamps, key_not_id";
    wrong_toml("[quality.nope]", &format!("quality.nope is not a rule; the rules are {rules}"));
}

#[test]
fn every_setting_out_of_range() {
    let whole = |name: &str, value: u32, range: &str| {
        wrong_toml(
            &format!("{name} = {value}"),
            &format!("{name} is {value}: must be between {range}"),
        );
    };
    whole("batch_size", 0, "1 and 100000");
    whole("batch_size", 100_001, "1 and 100000");
    whole("ml.concurrency", 0, "1 and 64");
    whole("ml.concurrency", 65, "1 and 64");
    whole("ml.request_size", 0, "1 and 100000");
    whole("ml.request_size", 100_001, "1 and 100000");
    whole("quality.window", 0, "1 and 10000");
    whole("quality.window", 10_001, "1 and 10000");
    for (value, shown) in
        [("-1", "-1"), ("0.0009", "0.0009"), ("1000001", "1000001"), ("nan", "NaN")]
    {
        wrong_toml(
            &format!("ml.max_requests_per_second = {value}"),
            &format!(
                "ml.max_requests_per_second is {shown}: must be between 0.001 and 1000000, or 0 for no limit"
            ),
        );
    }
    whole("csv.skip_lines", 10_001, "0 and 10000");
    whole("kafka.max_batch_bytes", 1_023, "1024 and 1073741824");
    whole("kafka.max_batch_bytes", 1_073_741_825, "1024 and 1073741824");
    for name in ["budget.window", "budget.in_a_row"] {
        whole(name, 0, "1 and 100000");
        whole(name, 100_001, "1 and 100000");
    }
    let time = |name: &str, values: &[&str], range: &str| {
        for value in values {
            let message = format!("{name} is {value}: must be between {range}");
            wrong_toml(&format!("{name} = '{value}'"), &message);
        }
    };
    time("lease", &["0s", "99ms", "1h 1s", "never"], "100ms and 1h");
    time("drain", &["1h 1s", "never"], "0s and 1h");
    time("ml.connect_timeout", &["0s", "11m", "never"], "1ms and 10m");
    time("ml.answer_timeout", &["0s", "11m", "never"], "1ms and 10m");
    time("watch.settle", &["1h 1s", "never"], "0s and 1h");
    time("watch.poll", &["9ms", "2h", "never"], "10ms and 1h");
    time("watch.retry", &["999ms", "1day 1h", "never"], "1s and 1d");
    time("kafka.linger", &["1m 1s", "never"], "0s and 1m");
    time("kafka.timeout", &["0s", "99ms", "11m", "never"], "100ms and 10m");
    for name in ["quality.outlier.threshold", "budget.ratio"] {
        for (value, shown) in [("1.01", "1.01"), ("-0.5", "-0.5"), ("nan", "NaN")] {
            wrong_toml(
                &format!("{name} = {value}"),
                &format!("{name} is {shown}: must be between 0 and 1"),
            );
        }
    }
    for name in ["kafka.brokers", "kafka.topic", "kafka.group"] {
        wrong_toml(&format!("{name} = ' '"), &format!("{name} is empty"));
    }
    wrong_env(
        "GROUP_ID",
        "file",
        "kafka.group is file, which stands for files: choose another name",
    );
    let port =
        "setting obs.port (environment OBS_PORT): invalid value unsigned int `65536`, expected u16";
    wrong_env("OBS_PORT", "65536", port);
}

#[test]
fn values_that_cannot_be_read() {
    let file =
        |setting: &str, problem: &str| format!("setting {setting} (file tally.toml): {problem}");
    wrong_toml(
        "batch_size = -1",
        &file("batch_size", "invalid value signed int `-1`, expected usize"),
    );
    wrong_toml(
        "batch_size = 'x'",
        &file("batch_size", "invalid type: found string, expected usize"),
    );
    wrong_toml(
        "migrate = 'maybe'",
        &file("migrate", "invalid type: found string, expected a boolean"),
    );
    wrong_toml("csv.decimal = 'dot'", &file("csv.decimal", "dot is not one of auto, comma, point"));
    wrong_toml("log.format = 'loud'", &file("log.format", "loud is not one of auto, pretty, json"));
    wrong_toml(
        "quality.outlier.policy = 'shout'",
        &file("quality.outlier.policy", "shout is not one of warn, quarantine, stop"),
    );
    for name in ["lease", "drain", "max_outage", "ml.connect_timeout", "ml.answer_timeout"] {
        let problem = "5 parsecs is not a duration like 500ms, 5s, 5m or never: \
            unknown time unit \"parsecs\", supported units: ns, us/µs, ms, sec, min, hours, days, weeks, months, years \
            (and few variations)";
        wrong_toml(&format!("{name} = '5 parsecs'"), &file(name, problem));
    }
    let minus = "-5s is not a duration like 500ms, 5s, 5m or never: expected number at 0";
    wrong_env("TALLY_LEASE", "-5s", &format!("setting lease (environment TALLY_LEASE): {minus}"));
    wrong_env(
        "TALLY_BATCH_SIZE",
        "1e3",
        "setting batch_size (environment TALLY_BATCH_SIZE): invalid type: found string, expected usize",
    );
    let level = |value: &str| {
        format!("setting log.level: {value} is not one of off, error, warn, info, debug, trace")
    };
    wrong_env("LOG_LEVEL", "loud", &level("loud"));
    wrong_env("LOG_LEVEL", "info,tally_pipeline", &level("tally_pipeline"));
    wrong_env(
        "LOG_LEVEL",
        "tally_pipeline=loud",
        "setting log.level: tally_pipeline=loud: error parsing level filter: expected one of \"off\", \"error\", \
         \"warn\", \"info\", \"debug\", \"trace\", or a number 0-5",
    );
}

#[test]
fn a_file_of_settings_that_cannot_be_read() {
    let missing =
        "error: cannot read the settings' file nope.toml: No such file or directory (os error 2)";
    check("", &[], &["--config", "nope.toml"], (78, missing));
    let no_toml = Folder::new();
    let output = start(&no_toml, "batch_size = \n", &[], &[]);
    let first = "error: cannot read the settings (file tally.toml): TOML parse error at line 1, column 14: expected `\"`, `'`";
    assert_eq!((output.code, output.stderr.lines().next()), (Some(78), Some(first)), "{output}");
    let folder = "error: cannot read the settings' file /: Is a directory (os error 21)";
    check("", &[], &["--config", "/"], (78, folder));
}

#[test]
fn control_characters_and_columns_that_hold_no_times() {
    let tab = "it has the control character '\\t'";
    wrong_env(
        "TALLY_KAFKA__SASL__PASSWORD",
        "hid\tden",
        &format!("setting kafka.sasl.password (environment TALLY_KAFKA__SASL__PASSWORD): {tab}"),
    );
    wrong_toml(
        "[flows.transactions.csv]\nencoding = \"utf\\t8\"",
        &format!("setting flows.transactions.csv.encoding (file tally.toml): {tab}"),
    );
    wrong_env(
        "TALLY_COLUMNS__AMOUNT__UNIT",
        "days",
        "columns.amount is no column of transactions that holds times; these are timestamp",
    );
    wrong_toml(
        "columns.timestamp.unit = 'weeks'",
        "setting columns.timestamp.unit (file tally.toml): weeks is not one of seconds, milliseconds, microseconds, nanoseconds, days",
    );
}

#[test]
fn tokens_that_cannot_be_used() {
    let both = "ERROR ml.bearer_token and ml.bearer_token_file are both set: leave one of them out";
    let (token, file) = ("TALLY_ML__BEARER_TOKEN", "TALLY_ML__BEARER_TOKEN_FILE");
    check("", &[(token, "hidden"), (file, "token")], &[], (78, both));
    let missing =
        "ERROR cannot read ml.bearer_token_file nope: No such file or directory (os error 2)";
    check("", &[(file, "nope")], &[], (78, missing));
    check("", &[(file, "/dev/null")], &[], (78, "ERROR ml.bearer_token_file /dev/null is empty"));
    let name = "ERROR ml.headers: \"x y\" is not the name of a header";
    check("[ml.headers]\n\"x y\" = \"hidden\"", &[], &[], (78, name));
}

#[test]
fn urls_that_name_nothing() {
    let refused = |job: Job, message: &str| {
        let folder = Folder::new();
        folder.write("good.csv", table([1]));
        let output = job.file("good.csv").launch().current_dir(folder.path()).spawn().wait(SOON);
        assert_eq!(
            (output.code, said(&output)),
            (Some(78), vec![format!("ERROR {message}")]),
            "{output}"
        );
        assert_eq!(folder.names(), ["good.csv"]);
    };
    let none = "is not one of sqlite:PATH, postgres://, postgresql://";
    for (url, shown) in [
        ("mysql://me:hidden@db/x", "mysql://***@db/x"),
        ("me:hidden@db/x", "***@db/x"),
        ("tally.db", "tally.db"),
    ] {
        refused(Job::new(url).model(NO_MODEL), &format!("database_url {shown} {none}"));
    }
    refused(
        Job::new("sqlite:").model(NO_MODEL),
        "database_url sqlite: has no path: write sqlite:tally.db",
    );
    refused(
        Job::new("sqlite::memory:").model(NO_MODEL),
        "database_url sqlite::memory: keeps nothing for the next run: write sqlite:tally.db",
    );
    refused(
        Job::new("sqlite:made.db?mode=ro").model(NO_MODEL),
        "database_url sqlite:made.db?*** has options after ?, of which SQLite's database takes none: write sqlite:made.db",
    );
    refused(
        Job::new("sqlite://made.db").model(NO_MODEL),
        "database_url sqlite://made.db names a host: write sqlite:PATH",
    );
    let model = "the model's URL (ML_API_URL) is not like http://127.0.0.1:8000";
    for (url, problem) in [
        ("ftp://me:hidden@127.0.0.1", "it starts neither with http:// nor with https://"),
        ("tcp:8000", "it starts neither with http:// nor with https://"),
        ("127.0.0.1:8000", "relative URL without a base"),
        ("http://", "empty host"),
    ] {
        refused(Job::new("sqlite:made.db").model(url), &format!("{model}: {problem}"));
    }
}

#[test]
fn encodings_that_cannot_be_read() {
    for (encoding, problem) in [
        (
            "utf-16",
            "is not compatible with ASCII: convert the file, for example with iconv -t UTF-8; one in UTF-16 that begins with \
             its byte order mark is read as it is, with csv.encoding utf-8",
        ),
        (
            "UTF-16LE",
            "is not compatible with ASCII: convert the file, for example with iconv -t UTF-8; one in UTF-16 that begins with \
             its byte order mark is read as it is, with csv.encoding utf-8",
        ),
        (
            "ebcdic",
            "is unknown: use a label of the WHATWG encoding standard, such as utf-8 or windows-1252",
        ),
    ] {
        let line = format!("ERROR csv.encoding {encoding:?} {problem}");
        check("", &[("TALLY_CSV__ENCODING", encoding)], &[], (78, &line));
    }
}

#[test]
fn formats_of_timestamps_that_can_read_nothing() {
    for (format, problem) in [
        ("%Q", "is not a format of strftime, like %d/%m/%Y"),
        ("%H:%M", "names no date, or only a part of a time of day"),
    ] {
        let message = format!("csv.timestamp_formats: {format:?} {problem}");
        wrong_toml(&format!("csv.timestamp_formats = ['%Y-%m-%d', '{format}']"), &message);
        let flow = format!("[flows.transactions]\ncsv.timestamp_formats = ['{format}']");
        wrong_toml(&flow, &message);
    }
}

#[test]
fn columns_that_are_mapped_to_none() {
    let line = "ERROR csv.columns: \"Betrag\" is mapped to \"amonut\", which is not a column; the columns are \
        id, description, amount, timestamp, merchant, operation_type, side";
    check("", &[("TALLY_CSV__COLUMNS", "{Betrag=amonut}")], &[], (78, line));
}

#[test]
fn an_address_that_cannot_be_listened_on() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let message = format!(
        "error: cannot listen on obs.host 127.0.0.1, obs.port {port}: Address already in use (os error 98)"
    );
    check("", &[("OBS_PORT", &port.to_string())], &[], (78, &message));
}

#[test]
fn the_first_thing_that_is_wrong_is_told() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let env = [("OBS_PORT", port.as_str()), ("TALLY_BATCH_SIZE", "0")];
    check("", &env, &["missing.csv"], (78, "error: batch_size is 0: must be between 1 and 100000"));
    let message = format!(
        "error: cannot listen on obs.host 127.0.0.1, obs.port {port}: Address already in use (os error 98)"
    );
    check("", &env[..1], &["missing.csv"], (78, &message));
}

#[test]
fn the_result_of_all_layers_is_shown_without_secrets() {
    let folder = Folder::new();
    fs::write(
        folder.path().join("tally.toml"),
        "batch_size = 7\n[quality.outlier]\nthreshold = 0.25\n[csv.columns]\n\"Betrag (EUR)\" = 'amount'\n's.no' = 'id'\n",
    )
    .unwrap();
    let env = [
        ("DATABASE_URL", "postgres://me:hidden@db/unused"),
        ("TALLY_ML__CONCURRENCY", "2"),
        ("TALLY_CSV__SKIP_LINES", "3"),
        ("TALLY_CSV__TIMESTAMP_FORMATS", "[\"%d/%m/%Y\"]"),
        ("OBS_PORT", "9000"),
        ("LOG_LEVEL", "warn,tally_pipeline=debug"),
        ("TOPIC_NAME", "7"),
        ("TALLY_KAFKA__SASL__PASSWORD", " hidden\n"),
        ("TALLY_ML__BEARER_TOKEN", "hidden"),
        ("TALLY_ML__HEADERS__X_API_KEY", "7"),
        ("TALLY_PRIVACY__MASKED", "[\"merchant\", \"description\"]"),
    ];
    let job = Job::new("postgres://me:hidden@db:5432/x?password=hidden")
        .model("https://key:hidden@ml/v1?key=hidden");
    let job =
        job.flags(["--print-config", "--lease", "2s", "--no-migrate", "--max-outage", "never"]);
    let job = env.iter().fold(job, |job, (name, value)| job.env(name, value));
    let output = job.launch().current_dir(folder.path()).spawn().wait(SOON);
    assert_eq!((output.code, output.stderr.as_str()), (Some(0), ""), "{output}");
    let expected = "\
        batch_size = 7 # file tally.toml\n\
        budget.in_a_row = 1000 # default\n\
        budget.ratio = 0.9 # default\n\
        budget.window = 10000 # default\n\
        csv.columns = {\"Betrag (EUR)\" = \"amount\", \"s.no\" = \"id\"} # file tally.toml\n\
        csv.decimal = \"auto\" # default\n\
        csv.encoding = \"utf-8\" # default\n\
        csv.skip_lines = 3 # environment TALLY_CSV__SKIP_LINES\n\
        csv.timestamp_formats = [\"%d/%m/%Y\"] # environment TALLY_CSV__TIMESTAMP_FORMATS\n\
        database_url = \"postgres://***@db:5432/x?***\" # flag --database-url\n\
        drain = \"10s\" # default\n\
        kafka.brokers = \"127.0.0.1:9092\" # default\n\
        kafka.ca_file = \"\" # default\n\
        kafka.client_id = \"tally\" # default\n\
        kafka.delivery = \"at-least-once\" # default\n\
        kafka.dlq_topic = \"\" # default\n\
        kafka.group = \"tally\" # default\n\
        kafka.linger = \"50ms\" # default\n\
        kafka.max_batch_bytes = 67108864 # default\n\
        kafka.progress_topic = \"tally-progress\" # default\n\
        kafka.registry_url = \"\" # default\n\
        kafka.report_offsets = false # default\n\
        kafka.sasl.mechanism = \"none\" # default\n\
        kafka.sasl.password = *** # environment TALLY_KAFKA__SASL__PASSWORD\n\
        kafka.sasl.username = \"\" # default\n\
        kafka.start = \"earliest\" # default\n\
        kafka.timeout = \"10s\" # default\n\
        kafka.tls = false # default\n\
        kafka.topic = \"7\" # environment TOPIC_NAME\n\
        kafka.transactional_id_prefix = \"tally\" # default\n\
        lease = \"2s\" # flag --lease\n\
        log.format = \"auto\" # default\n\
        log.level = \"warn,tally_pipeline=debug\" # environment LOG_LEVEL\n\
        max_outage = \"never\" # flag --max-outage\n\
        migrate = false # flag --no-migrate\n\
        ml.answer_timeout = \"5s\" # default\n\
        ml.bearer_token = *** # environment TALLY_ML__BEARER_TOKEN\n\
        ml.bearer_token_file = \"\" # default\n\
        ml.concurrency = 2 # environment TALLY_ML__CONCURRENCY\n\
        ml.connect_timeout = \"2s\" # default\n\
        ml.headers.x-api-key = *** # environment TALLY_ML__HEADERS__X_API_KEY\n\
        ml.isolate_errors = false # default\n\
        ml.max_requests_per_second = 0 # default\n\
        ml.request_size = 1000 # default\n\
        ml.url = \"https://***@ml/v1?***\" # flag --ml-url\n\
        obs.host = \"127.0.0.1\" # default\n\
        obs.port = 9000 # environment OBS_PORT\n\
        privacy.masked = [\"merchant\", \"description\"] # environment TALLY_PRIVACY__MASKED\n\
        quality.outlier.threshold = 0.25 # file tally.toml\n\
        quality.window = 1000 # default\n\
        retention = \"never\" # default\n\
        watch.done_marker = false # default\n\
        watch.poll = \"5s\" # default\n\
        watch.retry = \"1m\" # default\n\
        watch.settle = \"10s\" # default\n";
    assert_eq!(output.stdout, expected);
}
