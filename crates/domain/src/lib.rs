//! Records and rules: pure functions without I/O, clock or async. One module per flow.
//!
//! To add a flow: write a module like [`transactions`], implement [`Flow`] for a type of it, and describe its tables.
//! Nothing in the sources, the pipeline or the stores changes.

pub mod amount;
pub mod faults;
pub mod field;
pub mod flow;
pub mod id;
pub mod json_object;
pub mod message;
pub mod publish;
pub mod quality;
pub mod reason;
pub mod record;
pub mod table;
mod time_unit;
pub mod timestamp;
pub mod top;
pub mod transactions;

pub use bytestring::ByteString;
pub use faults::Faults;
pub use field::{Field, Fields, Headers, Incoming, Raw};
pub use flow::{AnswerField, Column, Envelope, Flow, Kind, ModelApi, Name, UnknownStats};
pub use json_object::JsonObject;
pub use message::Message;
pub use publish::{Output, Publication};
pub use reason::{Reason, Stage};
pub use record::{Action, AnsweredColumn, Decimal, Record, Type, Value, Write};
pub use table::{History, Table, TableColumn, TableKind, Version};
pub use time_unit::{TimeUnit, TimeUnits};
pub use top::{CounterTable, Top};
