//! Rows that only the database refuses.

use crate::support::outcome::summary;
use tally_harness::job::{Job, ModelService, Target, ended_with};
use tally_harness::ledger::Ledger;
use tally_harness::postgres::TestDatabase;
use tally_harness::sample::{Sample, Texts, assert_same_rows, rows};
use tempfile::TempDir;
use uuid::Uuid;

/// Makes the tables by a run without rows, and then the database refuse every row for which `condition` is false.
/// Answers the code that its dead letters will have.
async fn plant_check(target: &Target, model: &ModelService, condition: &str) -> &'static str {
    let empty = Sample::new(0);
    ended_with(&Job::new(&target.url()).model(model.url()).file(empty.path()).spawn(), 0);
    target.execute("delete from positions").await;
    match target {
        Target::Postgres(_) => {
            target
                .execute(&format!(
                    "alter table transactions add constraint planted check ({condition})"
                ))
                .await;
            "23514"
        }
        // SQLite cannot add a check to a table: a trigger writes into one that has it.
        Target::Sqlite(_) => {
            target.execute("create table refused (never integer check (false))").await;
            for when in ["insert", "update"] {
                let trigger = format!(
                    "create trigger planted_{when} before {when} on transactions \
                     when not (select {condition} from \
                     (select new.position as position, cast(new.amount as real) as amount)) \
                     begin insert into refused values (1); end"
                );
                target.execute(&trigger).await;
            }
            "constraint_check"
        }
    }
}

async fn dead_letters(target: &Target) -> Vec<Texts> {
    target
        .query("select position, code, stage, attempt, state from dead_letters order by position")
        .await
}

fn dead_letter(position: i64, code: &str) -> Texts {
    [&*position.to_string(), code, "write", "1", "open"].map(|text| Some(text.to_owned())).into()
}

/// 899 of 1,000 are written and 101 are not.
async fn refuse_101_of_1000(target: Target) {
    let (sample, model) = (Sample::new(1_000), ModelService::start());
    let code = plant_check(&target, &model, "position % 10 <> 3 and position <> 500").await;
    let job = Job::new(&target.url()).model(model.url()).file(sample.path()).flag("--summary=json");
    let output = ended_with(&job.spawn(), 0);

    let is_refused = |position: &i64| position % 10 == 3 || *position == 500;
    let refused: Vec<i64> = (0..1_000).filter(is_refused).collect();
    assert_eq!(refused.len(), 101);
    let expected: Vec<Texts> =
        refused.iter().map(|&position| dead_letter(position, code)).collect();
    assert_same_rows(&dead_letters(&target).await, &expected);
    let numbered = (0..).zip(sample.expected_rows());
    let fit: Vec<Texts> =
        numbered.filter(|(position, _)| !is_refused(position)).map(|(_, row)| row).collect();
    assert_same_rows(&rows(&target).await, &fit);

    let counted = summary(&output);
    assert_eq!((&counted["written"], &counted["dead_lettered"]), (&899.into(), &101.into()));
    assert_eq!(counted["dead_letters"], serde_json::json!({ code: 101 }));
    let categories: i64 = counted["categories"]
        .as_object()
        .unwrap()
        .values()
        .filter_map(serde_json::Value::as_i64)
        .sum();
    assert_eq!(categories, 899, "categories of what was written");
    let passes = Ledger::read(&target).await.check_whole(&target).await;
    assert!(passes.len() == 1 && passes[0].ended && passes[0].written == 899, "{passes:?}");
}

#[tokio::test]
async fn a_database_that_refuses_101_of_1000_rows_sqlite() {
    refuse_101_of_1000(Target::sqlite()).await;
}

#[tokio::test]
async fn a_database_that_refuses_101_of_1000_rows_postgres() {
    refuse_101_of_1000(Target::postgres().await).await;
}

/// Several rows of one id, of which the database refuses the last ones, in one batch or in several.
async fn refuse_winners(target: Target, batch_size: &str) {
    let (folder, model) = (TempDir::new().unwrap(), ModelService::start());
    let file = folder.path().join("keys.csv");
    let row = |(id, amount): (i64, &str)| {
        format!("{id};d;-{amount};2024-01-02 03:04:05;m;payment;debit\n")
    };
    let content: String = [
        (1, "10,00"),
        (2, "20,00"),
        (1, "10,01"),
        (2, "666,00"),
        (3, "666,00"),
        (1, "666,01"),
        (1, "666,02"),
        (4, "666,00"),
        (4, "40,00"),
    ]
    .map(row)
    .concat();
    std::fs::write(
        &file,
        "id;description;amount;timestamp;merchant;operation_type;side\n".to_owned() + &content,
    )
    .unwrap();
    let code = plant_check(&target, &model, "amount > -600").await;
    let job = Job::new(&target.url()).model(model.url()).file(&file);
    let output = ended_with(&job.flags(["--batch-size", batch_size, "--summary=json"]).spawn(), 0);

    let kept = target.query("select position, amount from transactions order by position").await;
    let expected = [("1", "-20.00"), ("2", "-10.01"), ("8", "-40.00")];
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(kept, expected.map(|(position, amount)| vec![text(position), text(amount)]));
    assert_eq!(
        dead_letters(&target).await,
        [3, 4, 5, 6, 7].map(|position| dead_letter(position, code))
    );
    let counted = summary(&output);
    assert_eq!(
        (&counted["read"], &counted["dead_letters"]),
        (&9.into(), &serde_json::json!({ code: 5 }))
    );
    let passes = Ledger::read(&target).await.check_whole(&target).await;
    // In one batch the row of position 0 is never the winner; alone in a batch it was written before the other came.
    let (written, superseded) = if batch_size == "1" { (4, 0) } else { (3, 1) };
    assert_eq!((passes[0].written, passes[0].superseded), (written, superseded), "{passes:?}");
}

#[tokio::test]
async fn the_earlier_record_of_a_refused_one_is_written_in_a_batch_sqlite() {
    refuse_winners(Target::sqlite(), "1000").await;
}

#[tokio::test]
async fn the_earlier_record_of_a_refused_one_is_written_in_a_batch_postgres() {
    refuse_winners(Target::postgres().await, "1000").await;
}

#[tokio::test]
async fn the_earlier_record_of_a_refused_one_stays_across_batches_sqlite() {
    refuse_winners(Target::sqlite(), "1").await;
}

#[tokio::test]
async fn the_earlier_record_of_a_refused_one_stays_across_batches_postgres() {
    refuse_winners(Target::postgres().await, "1").await;
}

/// What `sql` plants refuses every tenth row with `code`; the run, in the database that `url` names, goes to its end.
async fn every_tenth_is_refused(sql: &str, url: impl Fn(&TestDatabase) -> String, code: &str) {
    let (sample, model) = (Sample::new(1_000), ModelService::start());
    let target = Target::postgres().await;
    plant_check(&target, &model, "true").await;
    target.execute(sql).await;
    let Target::Postgres(database) = &target else { unreachable!() };
    let job = Job::new(&url(database)).model(model.url()).file(sample.path());
    let output = ended_with(&job.flags(["--summary=json", "--batch-size=200"]).spawn(), 0);

    assert_eq!(summary(&output)["dead_letters"], serde_json::json!({ code: 100 }));
    let expected: Vec<Texts> = (0..100).map(|n| dead_letter(10 * n + 3, code)).collect();
    assert_same_rows(&dead_letters(&target).await, &expected);
    let numbered = (0..).zip(sample.expected_rows());
    let fit: Vec<Texts> =
        numbered.filter(|(position, _)| position % 10 != 3).map(|(_, row)| row).collect();
    assert_same_rows(&rows(&target).await, &fit);
    Ledger::read(&target).await.check_whole(&target).await;
}

const RAISE: &str = "create function refuse() returns trigger language plpgsql as \
    $$ begin if new.position % 10 = 3 then raise exception 'not %', new.description; end if; return new; end $$;";

#[tokio::test]
async fn rows_at_which_a_trigger_raises() {
    let trigger = "create trigger refuse before insert on transactions for each row execute function refuse()";
    every_tenth_is_refused(&format!("{RAISE} {trigger}"), TestDatabase::url, "P0001").await;
}

#[tokio::test]
async fn rows_at_which_a_deferred_trigger_raises() {
    let trigger = "create constraint trigger refuse after insert on transactions deferrable initially deferred \
        for each row execute function refuse()";
    every_tenth_is_refused(&format!("{RAISE} {trigger}"), TestDatabase::url, "P0001").await;
}

/// Under a role that owns nothing and may write.
#[tokio::test]
async fn rows_that_row_level_security_refuses() {
    let role = format!("tally_{}", Uuid::now_v7().simple());
    let secure = format!(
        "create role {role} login password 'right'; \
         grant select, insert, update, delete on all tables in schema public to {role}; \
         alter table transactions enable row level security; \
         create policy planted on transactions using (true) with check (position % 10 <> 3)"
    );
    every_tenth_is_refused(&secure, |database| database.url_as(&role, "right"), "42501").await;
    let other = TestDatabase::create().await;
    other.execute(&format!("drop role {role}")).await;
}

/// A trigger that leaves rows out without a word does not make them disappear.
async fn rows_that_a_trigger_leaves_out(target: Target, trigger: &str, code: &str) {
    let (sample, model) = (Sample::new(100), ModelService::start());
    let _code = plant_check(&target, &model, "true").await;
    target.execute(trigger).await;
    let job = Job::new(&target.url()).model(model.url()).file(sample.path()).flag("--summary=json");
    let output = ended_with(&job.spawn(), 0);
    assert_eq!(summary(&output)["dead_letters"], serde_json::json!({ code: 10 }));
    assert_eq!(target.number("select count(*) from transactions").await, 90);
    let expected: Vec<Texts> = (0..10).map(|n| dead_letter(10 * n + 3, code)).collect();
    assert_same_rows(&dead_letters(&target).await, &expected);
    Ledger::read(&target).await.check_whole(&target).await;
}

#[tokio::test]
async fn rows_that_a_trigger_leaves_out_are_accounted_for_sqlite() {
    let trigger = "create trigger leave_out before insert on transactions when new.position % 10 = 3 \
        begin select raise(ignore); end";
    rows_that_a_trigger_leaves_out(Target::sqlite(), trigger, "constraint_trigger").await;
}

#[tokio::test]
async fn rows_that_a_trigger_leaves_out_are_accounted_for_postgres() {
    let trigger = "create function leave_out() returns trigger language plpgsql as \
        $$ begin return case when new.position % 10 = 3 then null else new end; end $$; \
        create trigger leave_out before insert on transactions for each row execute function leave_out()";
    rows_that_a_trigger_leaves_out(Target::postgres().await, trigger, "02000").await;
}
