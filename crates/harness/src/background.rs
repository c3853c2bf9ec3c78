//! The runtime that the helpers' servers live on, so that they go on answering while a test blocks its own.

use std::panic::resume_unwind;
use std::sync::LazyLock;

use tokio::runtime::{Builder, Runtime};

/// One for the process, never shut down: it ends with the test.
pub(crate) static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("harness")
        .enable_all()
        .build()
        .expect("a tokio runtime")
});

/// Runs what blocks beside the test's own runtime; its panic becomes the caller's.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match RUNTIME.spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => resume_unwind(error.into_panic()),
    }
}

/// Runs a future beside the test's own runtime, so that what it has spawned outlives that; its panic becomes the
/// caller's.
pub(crate) async fn background<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> T {
    match RUNTIME.spawn(work).await {
        Ok(value) => value,
        Err(error) => resume_unwind(error.into_panic()),
    }
}
