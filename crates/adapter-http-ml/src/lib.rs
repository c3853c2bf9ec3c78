//! Enrich: the model over HTTP.
//!
//! [`Model`] asks `POST {url}/predict` with a list of records and reads a list of `{transaction_id, category}`,
//! matched by id. What becomes of what the model says:
//!
//! | the model | the record |
//! | --- | --- |
//! | names one category of 1 to 64 characters, not blank, without U+0000 | has it |
//! | names it in no fit item, or with `null`, an unusable category or two different ones | is asked for once more with all others of its kind, then `model_no_answer` |
//! | answers 400, 413 or 422 | the list is split in halves until the refused record stands alone: `model_refused` |
//! | answers 429 | is asked for again, and all requests become slower; three times in a row, or with a pause of more than 5 s, it is an outage |
//! | answers 500, and [`isolate_errors`](Settings::isolate_errors) is set | the third time its list is split too; alone, it is `model_failed` once the model answers for a neighbour that it has answered for before |
//! | answers anything else, or not at all | [`Fault::Outage`](tally_ports::Fault::Outage): nothing is lost by waiting |
//! | answers the first request with 401, 403, 404, 405 or a redirect, or has a certificate that is not trusted | [`StopKind::Setting`](tally_ports::StopKind::Setting): waiting does not help |
//!
//! An item is fit when it is an object with the texts `transaction_id` and `category` (or `null`), once each; its other
//! fields are passed over. One that is not fit is no answer for its record and changes nothing for the others.
//!
//! When an answer names none of the records asked about for the first time in a fit item, that is an outage: a model that
//! lost its data answers so, and waiting loses nothing. A record that stands alone, after a split or when it is asked for
//! once more, costs only itself, unless the model has named no other of its batch. A batch of more than ten records that
//! ends without one category, refused or unanswered, is an outage as well.
//!
//! An [`Inquiry`] keeps what was answered about its batch, so a request that was answered is not sent again after an
//! outage. When the whole batch is without one named record, or without one category, nothing that the model said about it
//! is believed, and the first request is the next one.
//!
//! A list never holds two records of one id, for the answers could not be told apart: a record that repeats an
//! earlier one byte by byte shares its answer, another version of the same id goes into a list of its own.
//!
//! A request has at most [`request_size`](Settings::request_size) records; half as many after each answer that does not come
//! in time, and twice as many again after each that comes in a quarter of it. It carries an `Idempotency-Key`, the same for
//! the same question, also after a crash, and another one where an answer was not believed. A kept connection that the model
//! has closed meanwhile is no outage: the request is sent once more at once.
//!
//! Waiting out an outage is the caller's. No message holds the user, the password or the query of the URL, a record's content
//! or the model's words.

mod answer;
mod clients;
mod connection;
mod endpoint;
mod headers;
mod inquiry;
mod model;
mod outage;
mod pace;
mod question;
mod request_size;
mod settings;
mod tls;

pub use inquiry::Inquiry;
pub use model::Model;
pub use settings::Settings;
