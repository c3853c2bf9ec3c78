//! The objects below a prefix of a bucket of S3 as a [`Place`](tally_ports::Place).
//!
//! Any server of the protocol will do: the address, the region and the credentials come from the usual variables
//! (`AWS_ENDPOINT_URL`, `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN` and what else the
//! platform sets), buckets are named in the path. An object is read by ranges, a few MiB at a time, each only as long as the object
//! has the `ETag` that it was listed with.

mod bucket;
mod object;

pub use bucket::Bucket;
