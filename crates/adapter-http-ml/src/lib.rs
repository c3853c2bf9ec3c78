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
//! | answers anything else, or not at all | [`Fault::Outage`](tally_ports::Fault::Outage): nothing is lost by waiting |
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
//! Nothing here retries or logs. No message holds the user, the password or the query of the URL, a record's content
//! or the model's words.

mod answer;
mod connection;
mod endpoint;
mod inquiry;
mod model;
mod outage;
mod question;
mod settings;
mod tls;

pub use inquiry::Inquiry;
pub use model::Model;
pub use settings::Settings;
