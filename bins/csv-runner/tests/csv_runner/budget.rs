//! Dead letters that are too many: a wrong setting must not bury a whole file.

use tally_harness::job::{Job, ModelService, Target};

use crate::support::{Folder, HEADER, SOON, row};

const NEXT: &str = "select next from positions where owner is null and ended_at is null";

#[tokio::test]
async fn a_file_of_nothing_but_bad_rows_is_not_buried() {
    let (folder, target, model) = (Folder::new(), Target::sqlite(), ModelService::start());
    let bad: String = (1..=1500).map(|id| row(id).replace("-1,50", "1,50")).collect();
    let path = folder.write("rows.csv", format!("{HEADER}{bad}"));
    let job = || Job::new(&target.url()).model(model.url()).file(&path).flag("--batch-size=300");
    let output = job().spawn().wait(SOON);
    assert_eq!(output.code, Some(65), "{output}");
    assert!(
        output.stderr.contains("1000 records in a row") && output.stderr.contains("debit_sign"),
        "{output}"
    );
    assert_eq!(target.number(NEXT).await, 900, "the batch over the budget is not committed");

    let output = job().env("TALLY_BUDGET__IN_A_ROW", "5000").spawn().wait(SOON);
    assert_eq!(output.code, Some(65), "{output}");
    assert!(output.stderr.contains("rows.csv is rejected: 1500 of 1500 rows"), "{output}");
    assert_eq!(target.number("select count(*) from dead_letters").await, 1500);
}

#[tokio::test]
async fn a_share_above_the_budget_stops_the_job() {
    let (folder, target, model) = (Folder::new(), Target::sqlite(), ModelService::start());
    let is_bad = |id: u32| id % 10 < 6;
    let bad = |id: u32| row(id).replace("-1,50", "1,50");
    let rows: String = (1..=1000).map(|id| if is_bad(id) { bad(id) } else { row(id) }).collect();
    let path = folder.write("rows.csv", format!("{HEADER}{rows}"));
    let job = |ratio: &str| {
        let job = Job::new(&target.url()).model(model.url()).file(&path).flag("--batch-size=50");
        job.env("TALLY_BUDGET__WINDOW", "200").env("TALLY_BUDGET__RATIO", ratio)
    };
    let output = job("0.55").spawn().wait(SOON);
    assert_eq!(output.code, Some(65), "{output}");
    assert!(output.stderr.contains("120 of the last 200 records"), "{output}");
    assert_eq!(target.number(NEXT).await, 150, "the batch that fills the window is not committed");
    let output = job("0.6").spawn().wait(SOON);
    assert_eq!(output.code, Some(0), "exactly the share is allowed: {output}");
}

#[tokio::test]
async fn a_database_that_refuses_all_is_no_grave() {
    let (folder, target, model) = (Folder::new(), Target::postgres().await, ModelService::start());
    let empty = folder.write("empty.csv", HEADER);
    let job = |path| Job::new(&target.url()).model(model.url()).file(path).flag("--batch-size=600");
    assert_eq!(job(empty).spawn().wait(SOON).code, Some(0));
    target.execute("alter table transactions add check (amount > 0) not valid").await;
    let rows: String = (1..=1500).map(row).collect();
    let output = job(folder.write("rows.csv", format!("{HEADER}{rows}"))).spawn().wait(SOON);
    assert_eq!(output.code, Some(65), "{output}");
    assert!(output.stderr.contains("most of them 23514 (1200)"), "{output}");
    assert_eq!(target.number(NEXT).await, 600, "the batch over the budget is not committed");
    assert_eq!(target.number("select count(*) from dead_letters").await, 600);
}
