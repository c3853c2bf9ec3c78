//! The composition root's parts: settings from all their layers, and the opening of stores by URL.

pub mod layers;
pub mod settings;
pub mod span;
pub mod start;
pub mod store;
pub mod url;

pub use layers::{Flags, Layers};
pub use settings::Settings;
pub use span::Span;
pub use start::{Worker, start};
pub use store::{Store, Stored};
pub use url::Url;

/// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
