//! CSV files through the model into a database.
fn main() {}
