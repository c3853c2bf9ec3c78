use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use uuid::Uuid;

/// The ids of the transactions in `body`, a JSON list of objects or one object, in its order.
///
/// Errs with what is wrong, naming item and field but no value, when any of them is not a transaction.
pub(crate) fn ids(body: &[u8]) -> Result<Vec<Uuid>, String> {
    let not_json = |error| format!("not JSON: {error}");
    let items: Vec<&RawValue> = match body.trim_ascii_start().first() {
        Some(b'[') => serde_json::from_slice(body).map_err(not_json)?,
        _ => vec![serde_json::from_slice(body).map_err(not_json)?],
    };
    let mut ids = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        ids.push(id(item).map_err(|fault| format!("item {index}: {fault}"))?);
    }
    Ok(ids)
}

/// The columns of one transaction, as they stand in the body. `None` is a field that is absent.
#[derive(Deserialize)]
struct Columns<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    description: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    amount: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    timestamp: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    merchant: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    operation_type: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    side: Option<&'a RawValue>,
}

/// Keeps `null` apart from an absent field, which serde takes as the same.
fn present<'de, D: Deserializer<'de>>(field: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(field).map(Some)
}

fn id(item: &RawValue) -> Result<Uuid, String> {
    if !item.get().starts_with('{') {
        return Err("not an object".into());
    }
    // The item is JSON already, so what is left to fail is a repeated field; its place counts from the item: cut it.
    let columns: Columns = serde_json::from_str(item.get()).map_err(|error| {
        let message = error.to_string();
        message.split(" at line ").next().unwrap_or_default().to_owned()
    })?;

    let id = columns.id.ok_or("field `id`: missing")?;
    let id: Uuid = serde_json::from_str(id.get()).map_err(|_| "field `id`: not a UUID")?;
    if columns.amount.is_some_and(|amount| !is_number(amount)) {
        return Err("field `amount`: not a number".into());
    }
    if columns.timestamp.is_some_and(|timestamp| !is_text(timestamp)) {
        return Err("field `timestamp`: not text".into());
    }
    let texts = [
        ("description", columns.description),
        ("merchant", columns.merchant),
        ("operation_type", columns.operation_type),
        ("side", columns.side),
    ];
    for (name, text) in texts {
        if text.is_some_and(|text| !is_text(text) && text.get() != "null") {
            return Err(format!("field `{name}`: neither text nor null"));
        }
    }
    Ok(id)
}

fn is_text(value: &RawValue) -> bool {
    value.get().starts_with('"')
}

fn is_number(value: &RawValue) -> bool {
    value.get().starts_with(|first: char| first == '-' || first.is_ascii_digit())
}
