//! The decimal sign of a file: no amount is stored as another one than the file says.

use crate::support;

use serde_json::{Value, json};
use tally_harness::job::{Job, ModelService, Target};

use crate::support::rows::{Rows, check};
use crate::support::{Folder, HEADER, NO_MODEL, SOON, assert_accounted, row, run, summary};

const UNDECIDED: &str = "amount can be read as thousands or as decimals, and the first 256 KiB of the file do not settle it: \
                         set csv.decimal to comma or point";
const MAY_BE_THOUSANDS: &str = "amount has three digits behind the comma, which may be thousands or decimals: \
                                set csv.decimal to comma if they are decimals";

/// A row with this amount.
fn with(id: u32, amount: &str) -> String {
    row(id).replace("-1,50", amount)
}

/// Rows with these amounts.
fn table(amounts: &[impl AsRef<str>]) -> String {
    (1..).zip(amounts).fold(HEADER.to_owned(), |table, (id, text)| table + &with(id, text.as_ref()))
}

/// What `--summary json` says of the only file, and of rows.
async fn taken(content: &str, env: &[(&str, &str)]) -> (Value, Target) {
    let (folder, target, model) = (Folder::new(), Target::sqlite(), ModelService::start());
    let path = folder.write("rows.csv", content);
    let job = Job::new(&target.url()).model(model.url()).flags(["--summary", "json"]).file(path);
    let job = env.iter().fold(job, |job, (name, value)| job.env(name, value));
    let output = job.spawn().wait(SOON);
    let summary = summary(&output);
    let code = if summary["files"][0]["state"] == "rejected" { 65 } else { 0 };
    assert_eq!(output.code, Some(code), "{output}");
    assert_accounted(&target, &summary).await;
    (summary, target)
}

/// The amounts stored and how often each.
async fn stored(target: &Target) -> Vec<(String, String)> {
    let sql = "select amount, count(*) from transactions group by amount order by count(*) desc";
    let pair = |columns: Vec<Option<String>>| {
        let [amount, count] = columns.try_into().unwrap();
        (amount.unwrap(), count.unwrap())
    };
    target.query(sql).await.into_iter().map(pair).collect()
}

fn counted(expected: &[(&str, usize)]) -> Vec<(String, String)> {
    expected.iter().map(|(amount, count)| ((*amount).to_owned(), count.to_string())).collect()
}

async fn check_undecided(target: &Target) {
    let semicolons = Rows::new("semicolons", with(1, "-3,000") + &with(2, "-3"))
        .with("csv.decimal", "undecided")
        .letter(0, ("amount_invalid", UNDECIDED), Some("1"), with(1, "-3,000").trim_end())
        .written(["1|CB RATP PARIS 02/08|-3.00"]);
    let (header, point) = (HEADER.replace(';', ","), with(3, "-3.000").replace(';', ","));
    let commas = Rows::whole("commas", header.trim_end(), header.clone() + &point)
        .with("csv.decimal", "undecided")
        .with("csv.delimiter", ",")
        .letter(0, ("amount_invalid", UNDECIDED), Some("3"), point.trim_end());
    // Read by what each of them shows.
    let each = Rows::new("each", with(11, "-1,5") + &with(12, "-1.234,5") + &with(13, "-1,234.5"))
        .written(["0|CB RATP PARIS 02/08|-1.50", "1|CB RATP PARIS 02/08|-1234.50"])
        .written(["2|CB RATP PARIS 02/08|-1234.50"]);
    check(target, &ModelService::start(), &[semicolons, commas, each], &[]).await;
}

#[tokio::test]
async fn an_amount_that_may_be_either_is_refused_where_the_file_does_not_show_which_on_sqlite() {
    check_undecided(&Target::sqlite()).await;
}

#[tokio::test]
async fn an_amount_that_may_be_either_is_refused_where_the_file_does_not_show_which_on_postgres() {
    check_undecided(&Target::postgres().await).await;
}

#[tokio::test]
async fn one_odd_amount_does_not_decide_for_the_file() {
    let amounts = [vec!["-12.50"], vec!["-1,50"; 499]].concat();
    let (summary, target) = taken(&table(&amounts), &[]).await;
    assert_eq!(summary["dead_letters"], json!({"amount_invalid": 1}));
    assert_eq!(stored(&target).await, counted(&[("-1.50", 499)]));
    let file = &summary["files"][0];
    assert_eq!((&file["decimal"], &file["decimal_line"]), (&json!("comma"), &json!(3)));
}

#[tokio::test]
async fn one_amount_with_decimals_does_not_make_thousands_a_thousandth() {
    let amounts = [vec!["-12,000"; 300], vec!["-12,50"], vec!["-12,000"; 199]].concat();
    let (summary, target) = taken(&table(&amounts), &[]).await;
    assert_eq!(summary["dead_letters"], json!({"amount_invalid": 499}));
    assert_eq!(summary["files"][0]["state"], "rejected");
    assert_eq!(stored(&target).await, counted(&[("-12.50", 1)]));
    let messages = target.query("select distinct message from dead_letters").await;
    assert_eq!(messages, [[Some(MAY_BE_THOUSANDS.to_owned())]]);

    // Somebody who knows says so.
    let (summary, target) = taken(&table(&amounts), &[("TALLY_CSV__DECIMAL", "comma")]).await;
    assert_eq!(summary["dead_lettered"], 0);
    assert_eq!(stored(&target).await, counted(&[("-12.00", 499), ("-12.50", 1)]));
    let file = &summary["files"][0];
    assert_eq!((&file["decimal"], &file["decimal_line"]), (&json!("comma-set"), &Value::Null));
}

#[tokio::test]
async fn the_other_sign_and_blanks_group_thousands() {
    let amounts = ["-1,5", "-3.000", "-1.234.567,89", "-2 500", "-2\u{a0}500", "-2\u{202f}500,0"];
    let more = ["-2'500", "-2\u{2019}500", "-,50"];
    let (summary, target) = taken(&table(&[&amounts[..], &more].concat()), &[]).await;
    assert_eq!(summary["dead_lettered"], 0);
    let found = target.query("select amount from transactions order by position").await;
    let expected = ["-1.50", "-3000.00", "-1234567.89"].into_iter().chain(["-2500.00"; 5]);
    let expected: Vec<_> = expected.chain(["-0.50"]).map(|text| [Some(text.to_owned())]).collect();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn what_no_amount_may_have_is_refused_by_name() {
    let cases = [
        ("(12,50)", "is in parentheses: write a minus before it instead"),
        ("12,50-", "has its sign after the digits: put it in front"),
        ("+12,50", "has a plus sign: leave it out"),
        ("-12,50 €", "has a currency sign: leave it out"),
        ("EUR -12,50", "has a currency code: leave it out"),
        ("\u{2212}12,50", "has the minus sign U+2212: write a hyphen-minus instead"),
        ("-1e3", "has an exponent: write it out"),
        ("-1,23,456.00", "has thousands that are not in groups of three digits"),
    ];
    let (_, target) = taken(&table(&cases.map(|(amount, _)| amount)), &[]).await;
    let found = target.query("select code, message from dead_letters order by position").await;
    let letter = |(_, why)| ["amount_invalid".to_owned(), format!("amount {why}")].map(Some);
    assert_eq!(found, cases.map(letter));
}

/// The amounts behind the first 256 KiB have no say, neither at once nor after a restart.
#[tokio::test]
async fn a_run_that_goes_on_reads_amounts_as_the_first_one() {
    let (folder, target, model) = (Folder::new(), Target::sqlite(), ModelService::start());
    let head: String = (0..6000).map(row).collect();
    assert!(head.len() > 256 * 1024);
    let blank = ";;;;;;\n".repeat(1500);
    let no_merchant = |id: u32, amount: &str| with(id, amount).replace(";RATP;", ";;");
    // The batch of the first run that a rule stops; the second run begins with it.
    let tail: String = (6000..7000).map(|id| no_merchant(id, "-1.500")).collect();
    let points: String = (7000..7500).map(|id| with(id, "-12.50")).collect();
    let path = folder.write("rows.csv", [HEADER, &head, &blank, &tail, &points].concat());
    let job = |policy: &str| {
        let job = Job::new(&target.url()).model(model.url()).flags(["--summary", "json"]);
        let job = job.env("TALLY_QUALITY__MISSING_MERCHANT__POLICY", policy).file(&path);
        job.env("TALLY_QUALITY__MISSING_MERCHANT__THRESHOLD", "0.5").spawn().wait(SOON)
    };
    let output = job("stop");
    assert_eq!(output.code, Some(65), "{output}");
    assert_eq!(summary(&output)["written"], 6000);
    let output = job("warn");
    assert_eq!(output.code, Some(0), "{output}");
    let summary = summary(&output);
    let file = &summary["files"][0];
    assert_eq!(
        [&file["resumed_at"], &file["read"], &file["decimal"], &file["decimal_line"]],
        [&json!(6000), &json!(1500), &json!("comma"), &json!(2)]
    );
    assert_eq!([&summary["blank"], &summary["dead_lettered"]], [1500, 500]);
    assert_eq!(stored(&target).await, counted(&[("-1.50", 6000), ("-1500.00", 1000)]));
}

#[tokio::test]
async fn a_dry_run_says_what_is_taken_and_shows_amounts_as_they_stand() {
    let (folder, model) = (Folder::new(), ModelService::start());
    let said = |name: &str, amounts: &[&str], env: &[(&str, &str)]| {
        folder.write(name, table(amounts));
        let job = Job::new("sqlite:none.db").model(model.url()).flags(["--dry-run", name]);
        let job = env.iter().fold(job, |job, (name, value)| job.env(name, value));
        let output = job.launch().current_dir(folder.path()).spawn().wait(SOON);
        assert_eq!(output.code, Some(0), "{output}");
        output.stdout
    };
    let text = said("comma.csv", &["-1.000", "-12,50", "-2 000"], &[]);
    let first = "comma.csv: done, 3 rows read, 0 dead letters\n  decimal comma (line 3)\n";
    assert!(text.starts_with(first), "{text}");
    let shown =
        "  amount          missing 0, least \"-2 000\", greatest \"-12,50\"\n    \"-1.000\" 1\n";
    assert!(text.contains(shown), "{text}");

    let text = said("set.csv", &["-1,500"], &[("TALLY_CSV__DECIMAL", "comma")]);
    assert!(text.contains("\n  decimal comma (csv.decimal)\n"), "{text}");
    let text = said("undecided.csv", &["-7", "-1,500"], &[]);
    let why = "decimal sign unknown: line 3 can be read as thousands or as decimals, and nothing in the first \
               256 KiB settles it: set csv.decimal to comma or point";
    assert!(text.contains(&format!("\n  {why}\n")), "{text}");
    let text = said("both.csv", &["-1,5", "-1.5"], &[]);
    let why = "decimal sign unknown: decimal commas (line 2) and decimal points (line 3) are mixed: set \
               csv.decimal to comma or point";
    assert!(text.contains(&format!("\n  {why}\n")), "{text}");
    let text = said("whole.csv", &["-7", "-1 500"], &[]);
    assert!(!text.contains("decimal"), "{text}");
}

/// As spreadsheets leave them: neither dead letters nor against the budget, which allows a thousand in a row.
#[tokio::test]
async fn blank_rows_are_no_records() {
    let (folder, target, model) = (Folder::new(), Target::sqlite(), ModelService::start());
    let blank = ";;;;;;\n".repeat(5000);
    let content = [HEADER, &row(1), &blank, "\"\"; ;;;;;\"\"\r\n", &row(2), &blank].concat();
    let path = folder.write("rows.csv", content);
    let output = run(&target, model.url(), &[&path], &[]);
    assert_eq!(output.code, Some(0), "{output}");
    let summary = summary(&output);
    assert_accounted(&target, &summary).await;
    assert_eq!(
        ["read", "written", "dead_lettered", "blank"].map(|key| &summary[key]),
        [2, 2, 0, 10_001]
    );
    assert_eq!(target.number("select max(position) from transactions").await, 1);

    let job = Job::new("sqlite:none.db").model(model.url()).flag("--dry-run").file(path);
    let output = job.spawn().wait(SOON);
    assert!(output.stdout.contains("\n10001 blank rows ignored\n"), "{output}");
    let only_blank = folder.write("blank.csv", HEADER.to_owned() + &blank);
    let output = run(&target, NO_MODEL, &[only_blank], &[]);
    assert_eq!(output.code, Some(0), "{output}");
    let summary = support::summary(&output);
    assert_eq!(["read", "blank"].map(|key| &summary[key]), [0, 5000]);
}

#[tokio::test]
async fn a_surplus_empty_field_is_no_wrong_number_of_fields() {
    let end = |row: String, end: &str| row.replace('\n', end);
    let header = HEADER.trim_end();
    let in_rows = Rows::new("in rows", end(row(1), ";\n") + &row(2) + &end(row(3), ";\"\"\r\n"))
        .neighbours([0, 1, 2]);
    let in_header = Rows::whole(
        "in header",
        &format!("{header};"),
        [&format!("{header};\n"), &row(11), &end(row(12), ";\n"), &end(row(13), ";;\n")]
            .map(String::as_str)
            .concat(),
    )
    .neighbours([0, 1])
    .letter(2, ("fields", "line 4: 9 fields instead of 7"), None, end(row(13), ";;"));
    let more = Rows::new("more", row(21) + &end(row(22), ";x\n") + &end(row(23), ";;\n"))
        .neighbours([0])
        .letter(1, ("fields", "line 3: 8 fields instead of 7"), None, end(row(22), ";x"))
        .letter(2, ("fields", "line 4: 9 fields instead of 7"), None, end(row(23), ";;"));
    let files = [in_rows, in_header, more];
    check(&Target::sqlite(), &ModelService::start(), &files, &[]).await;
}
