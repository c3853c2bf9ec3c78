//! `bench` as a process.

mod command;
