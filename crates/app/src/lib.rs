//! Parts for composing a binary: settings from all their layers, and stores by URL.

pub mod bytes;
mod console;
mod counts;
mod exit;
mod flags;
mod flows;
#[cfg(feature = "kafka")]
pub mod kafka;
mod layers;
mod ledger_reader;
mod parts;
mod secret;
mod settings;
mod span;
mod start;
mod store;
mod table;
mod url;

pub use console::{console, existing, who};
pub use counts::show_counts;
pub use exit::{EXIT_OUTPUT, exit, print, print_logged, say};
pub use flags::{BrokersFlag, Common, ConsumerFlags, Flags, GroupFlags, StoreFlags, TopicFlags};
pub use flows::{FlowFlag, Flows};
pub use layers::Layers;
pub use ledger_reader::LedgerReader;
pub use parts::{Publisher, model, outputs, pipeline, relay};
pub use secret::Secret;
pub use settings::{Settings, Watch};
pub use span::Span;
pub use start::{Worker, start};
pub use store::Store;
pub use table::{Table, bar, plain};
pub use url::Url;

/// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

/// Compiles and runs the flow of the page.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/add-a-flow.md")]
struct AddAFlow;
