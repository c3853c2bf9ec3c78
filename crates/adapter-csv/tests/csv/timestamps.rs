//! Timestamps in formats that are set.

use std::collections::BTreeMap;

use tally_adapter_csv::{CsvFile, Overrides, Settings, decode};
use tally_domain::{Column, Field, Kind};

use crate::support::{file_of, header, read_on};

const COLUMNS: &[Column] = &[Column::new("id", Kind::Id), Column::new("at", Kind::Timestamp)];

fn set(formats: &[&str]) -> Settings {
    let formats = formats.iter().map(|&format| format.to_owned()).collect();
    Settings { timestamp_formats: formats, ..Settings::default() }
}

async fn read(content: &str, settings: &Settings) -> Vec<tally_ports::Item> {
    let file = file_of(content);
    let file = CsvFile::open(file.path(), settings, COLUMNS).await.unwrap();
    read_on(&file, 0, &serde_json::Value::Null, 10).await.unwrap()
}

fn at(item: &tally_ports::Item) -> Field {
    item.content.as_ref().unwrap()[1].clone()
}

#[tokio::test]
async fn they_are_read_as_set_and_a_replay_reads_them_again() {
    let content = "at;id\n15/01/2024;1\n 15/01/24 08:30;2\n2024-01-15 08:30:00;3\n;4\n";
    let items = read(content, &set(&["%d/%m/%Y", "%d/%m/%y %H:%M"])).await;
    let moment = |text: &str| Field::Timestamp(text.parse().unwrap());
    let expected = [
        moment("2024-01-15T00:00:00"),
        moment("2024-01-15T08:30:00"),
        Field::Unreadable("2024-01-15 08:30:00".into()),
        Field::Text("".into()),
    ];
    for (item, expected) in items.iter().zip(&expected) {
        assert_eq!(at(item), *expected);
        let (again, _) = decode(&item.raw, COLUMNS, &Overrides::default()).await.unwrap();
        assert_eq!(again[1], *expected);
    }
    let formats = br#"["%d/%m/%Y","%d/%m/%y %H:%M"]"#;
    assert_eq!(header(&items[0], "csv.timestamp_formats"), Some(&formats[..]));
    assert_eq!(items.len(), expected.len());
}

#[tokio::test]
async fn without_formats_they_are_texts() {
    let items = read("at;id\n2024-01-15 08:30;1\n", &Settings::default()).await;
    assert_eq!(at(&items[0]), Field::Text("2024-01-15 08:30".into()));
    assert_eq!(header(&items[0], "csv.timestamp_formats"), None);
}

#[tokio::test]
async fn a_replay_may_read_with_other_settings() {
    let items = read("Wann;id\n15.01.2024;1\n", &{
        let columns = BTreeMap::from([("Wann".to_owned(), "at".to_owned())]);
        Settings { columns, ..Settings::default() }
    })
    .await;
    let overrides =
        Overrides { timestamp_formats: Some(vec!["%d.%m.%Y".to_owned()]), ..Overrides::default() };
    let (fields, _) = decode(&items[0].raw, COLUMNS, &overrides).await.unwrap();
    assert_eq!(fields[1], Field::Timestamp("2024-01-15T00:00:00".parse().unwrap()));
    let columns =
        BTreeMap::from([("wann".to_owned(), "id".to_owned()), ("ID".to_owned(), "at".to_owned())]);
    let overrides = Overrides { columns: Some(columns), ..Overrides::default() };
    let (fields, _) = decode(&items[0].raw, COLUMNS, &overrides).await.unwrap();
    assert_eq!(fields, [Field::Text("15.01.2024".into()), Field::Text("1".into())]);
}
