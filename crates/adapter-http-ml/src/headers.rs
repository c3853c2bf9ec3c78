//! The headers of each request.

use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
    TRANSFER_ENCODING,
};
use tally_ports::{Stop, StopKind};

use crate::Settings;
use crate::endpoint::Endpoint;

/// The key under which a model may keep its answer: the same records, asked about again, have the same one.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Those that the requests have of their own.
const OWN: [HeaderName; 5] =
    [ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, IDEMPOTENCY_KEY, TRANSFER_ENCODING];

/// The headers that `settings` ask for. No message quotes a value.
pub(crate) fn from(settings: &Settings, endpoint: &Endpoint) -> Result<HeaderMap, Stop> {
    let mut headers = HeaderMap::new();
    for (name, text) in &settings.headers {
        let header = HeaderName::try_from(name)
            .map_err(|_| wrong(format!("ml.headers: {name:?} is not the name of a header")))?;
        if OWN.contains(&header) {
            return Err(wrong(format!(
                "ml.headers.{name} is a header that each request has anyway"
            )));
        }
        headers.insert(header, value(text, &format!("ml.headers.{name}"))?);
    }
    let mut named: Vec<&str> = Vec::new();
    if !settings.bearer_token.is_empty() {
        named.push("ml.bearer_token");
    }
    if endpoint.has_user() {
        named.push("the user in ml.url");
    }
    if headers.contains_key(AUTHORIZATION) {
        named.push("ml.headers.authorization");
    }
    if let [first, second, ..] = named[..] {
        return Err(wrong(format!("{first} and {second} are both set: leave one of them out")));
    }
    if !settings.bearer_token.is_empty() {
        let bearer = format!("Bearer {}", settings.bearer_token);
        headers.insert(AUTHORIZATION, value(&bearer, "ml.bearer_token")?);
    }
    Ok(headers)
}

fn value(text: &str, setting: &str) -> Result<HeaderValue, Stop> {
    let mut value = HeaderValue::from_str(text).map_err(|_| {
        wrong(format!("{setting} cannot be sent: it has a character that no header may have"))
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn wrong(message: String) -> Stop {
    Stop { kind: StopKind::Setting, message }
}
