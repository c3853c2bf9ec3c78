//! Headers and rows as people write them: what is said of them.

use tally_harness::job::{Job, ModelService, Target};
use tally_harness::process::Output;

use crate::support::{Folder, HEADER, SOON, row, said, table};

/// Takes a file of this content with these settings.
fn take(target: &Target, folder: &Folder, content: &str, env: &[(&str, &str)]) -> Output {
    let model = ModelService::start();
    let path = folder.write("x.csv", content);
    let job = Job::new(&target.url()).model(model.url()).file(path);
    env.iter().fold(job, |job, (name, value)| job.env(name, value)).spawn().wait(SOON)
}

#[tokio::test]
async fn names_in_another_case_are_said_once() {
    let (folder, target) = (Folder::new(), Target::sqlite());
    let content = table(1..=5).replace("id;", " ID;").replace("side", "Side");
    let output = take(&target, &folder, &content, &[("TALLY_BATCH_SIZE", "2")]);
    assert_eq!(output.code, Some(0), "{output}");
    let line = "INFO DIR/x.csv: the header's names are read without case and blanks: \" ID\" as id, \"Side\" as side";
    assert_eq!(folder.shown(said(&output)), [line]);
    assert_eq!(target.number("select count(*) from transactions").await, 5);
}

#[tokio::test]
async fn a_file_of_a_spreadsheet_is_taken() {
    let (folder, target) = (Folder::new(), Target::sqlite());
    let header = HEADER.replace("amount", "Montant TTC").replace("timestamp", "date.valeur");
    let content = format!("sep=;\nReleve\n\n{header}{}", row(1));
    let env = [
        ("TALLY_CSV__SKIP_LINES", "2"),
        ("TALLY_CSV__COLUMNS", r#"{"montant ttc" = "amount", "date.valeur" = "timestamp"}"#),
    ];
    let output = take(&target, &folder, &content, &env);
    assert_eq!((output.code, said(&output)), (Some(0), vec![]), "{output}");
    assert_eq!(target.number("select count(*) from transactions where amount = '-1.50'").await, 1);
}

#[tokio::test]
async fn a_flow_may_have_columns_of_its_own() {
    let (folder, target) = (Folder::new(), Target::sqlite());
    let path = folder.write("x.csv", table([1]).replace("amount", "a.b"));
    folder.write("tally.toml", "[flows.transactions.csv.columns]\n'a.b' = 'amount'\n");
    let model = ModelService::start();
    let job = Job::new(&target.url()).model(model.url()).file(path);
    let output = job.launch().current_dir(folder.path()).spawn().wait(SOON);
    assert_eq!((output.code, said(&output)), (Some(0), vec![]), "{output}");
}

#[tokio::test]
async fn a_field_that_holds_rows_is_warned_of_once() {
    let (folder, target) = (Folder::new(), Target::sqlite());
    let open = |id: u32| row(id).replace("CB RATP PARIS 02/08\"", "never closed");
    let last = "9;x;-1,50;2024-01-15 08:30:00;RATP;payment;\";-1,50;2024-01-15 08:30:00;RATP;payment;debit\n";
    let plain = |id: u32| row(id).replace('"', "");
    let record = |id: u32| open(id) + &plain(id + 1) + &plain(id + 2) + last;
    let content = table([1]) + &record(2) + &record(12) + &row(20);
    let output = take(&target, &folder, &content, &[("TALLY_BATCH_SIZE", "1")]);
    assert_eq!(output.code, Some(0), "{output}");
    let line = "WARN DIR/x.csv: a quoted field of the record in line 3 holds what look like whole rows: look for a quote \
        that is not closed";
    assert_eq!(folder.shown(said(&output)), [line]);
    assert_eq!(target.number("select count(*) from transactions").await, 4);
}
