//! A flow of each shape end to end by the real programs on both stores.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod audit;
mod claims;
mod clicks;
mod commands;
mod contracts;
mod exactly_once;
mod outputs;
mod profiles;
mod publishing;
mod readings;
mod shipments;
mod support;
mod top;

/// Two tests of a function that takes a [`Target`](tally_harness::job::Target): one for each store.
macro_rules! on_both_stores {
    ($($name:ident)*) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(tally_harness::job::Target::sqlite()).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(tally_harness::job::Target::postgres().await).await;
            })*
        }
    };
}
pub(crate) use on_both_stores;
