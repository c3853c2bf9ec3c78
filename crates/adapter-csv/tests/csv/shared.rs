//! Texts that are parts of their records, and columns of every kind.

use tally_adapter_csv::{Overrides, Settings, decode};
use tally_domain::{Column, Field, Kind};
use tally_ports::Item;

use crate::support::{all_shown, payload, read, text};

/// Whether the texts of `id`, `amount` and `text` are parts of the payload.
fn are_shared(item: &Item) -> [bool; 3] {
    let payload = payload(item).as_ptr_range();
    let is_shared = |field: &Field| {
        let text = text(field).as_bytes().as_ptr_range();
        payload.start <= text.start && text.end <= payload.end
    };
    let fields = item.content.as_ref().unwrap();
    [0, 1, 2].map(|place| is_shared(&fields[place]))
}

#[tokio::test]
async fn a_text_that_stands_in_its_record_as_it_is_shares_the_bytes() {
    let content = "text;id;note;amount\na;1;x;2\n\"b;\n\";\"2\";\"\"\"\";\"3\"\n\"\"\"c\"\"\";3;x;é\n\"x\"\"\"\"\";4;x;5\n";
    let items = read(content, &Settings::default()).await;
    assert_eq!(all_shown(&items), ["1|2|a", "2|3|b;\n", "3|é|\"c\"", "4|5|x\"\""]);
    let shared: Vec<_> = items.iter().map(are_shared).collect();
    assert_eq!(shared, [[true; 3], [true; 3], [true, true, false], [true, true, false]]);
    for item in &items {
        let key = item.raw.key.as_ref().unwrap();
        assert!(payload(item).as_ptr_range().contains(&key.as_ptr()));
    }
}

#[tokio::test]
async fn in_another_encoding_texts_are_copies() {
    let settings = Settings { encoding: "latin1".to_owned(), ..Settings::default() };
    let items = read(b"id;amount;text\n1;2;\xe9\n", &settings).await;
    assert_eq!(all_shown(&items), ["1|2|é"]);
    assert_eq!(are_shared(&items[0]), [false; 3]);
}

/// What a column stands for is the flow's business.
#[tokio::test]
async fn fields_of_every_kind_are_texts() {
    let content = "id;amount;text\n1;true;{\"a\": 1}\n2;;\n";
    let items = read(content, &Settings::default()).await;
    let columns = [
        Column::new("text", Kind::Json),
        Column::new("amount", Kind::Boolean),
        Column::new("id", Kind::Timestamp),
    ];
    let text = |text: &str| Field::Text(text.into());
    let expected = [[text("{\"a\": 1}"), text("true"), text("1")], [text(""), text(""), text("2")]];
    for (item, expected) in items.iter().zip(expected) {
        let (fields, _) = decode(&item.raw, &columns, &Overrides::default()).await.unwrap();
        assert_eq!(fields, expected);
    }
}
