//! Observability of a running process: logs, `/metrics`, `/health`, `/ready`; and the signals that stop it.

pub mod counts;
pub mod logging;
pub mod recorder;
pub mod server;
pub mod shutdown;

pub use counts::Counts;
pub use logging::Format;
pub use recorder::Metrics;
pub use server::Readiness;
pub use shutdown::Shutdown;
