//! The harness itself, the layers, the scripts, the DAG of Airflow and the compose file.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod airflow;
mod compose;
mod connect;
mod http;
mod kafka;
mod layers;
mod postgres;
mod process;
mod proxy;
mod scripts;
mod services;
mod support;
