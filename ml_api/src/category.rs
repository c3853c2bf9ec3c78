use uuid::Uuid;

/// Every category the model knows; the order is part of the rule in [`category`].
pub const CATEGORIES: [&str; 15] = [
    "Rent",
    "Salary Income",
    "Food",
    "Restaurant",
    "Client Expenses",
    "Transportation",
    "Utilities",
    "Entertainment",
    "Healthcare",
    "Shopping",
    "Travel",
    "Education",
    "Insurance",
    "Investment",
    "Subscriptions",
];

/// `CPython` hashes an integer that is not negative as its remainder by this prime (`sys.hash_info.modulus`).
const HASH_MODULUS: u128 = (1 << 61) - 1;

/// The category of the transaction `id`: `CATEGORIES[hash(id) % 15]`, where `hash` is that of `CPython`'s
/// `uuid.UUID`, the hash of its 128-bit integer.
pub fn category(id: Uuid) -> &'static str {
    let hash = id.as_u128() % HASH_MODULUS;
    CATEGORIES[(hash % 15) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names are `CATEGORIES[hash(uuid.UUID(id)) % 15]` as computed by `CPython` 3.
    #[test]
    fn follows_the_hash_of_cpython() {
        let expected = [
            ("00000000-0000-0000-0000-000000000000", "Rent"),
            ("00000000-0000-0000-0000-000000000001", "Salary Income"),
            ("00000000-0000-0000-0000-00000000000e", "Subscriptions"),
            ("00000000-0000-0000-0000-00000000000f", "Rent"),
            ("00000000-0000-0000-1fff-fffffffffffe", "Rent"),
            ("00000000-0000-0000-1fff-ffffffffffff", "Rent"),
            ("00000000-0000-0000-2000-000000000000", "Salary Income"),
            ("00000000-0000-0001-0000-000000000000", "Healthcare"),
            ("ffffffff-ffff-ffff-ffff-ffffffffffff", "Restaurant"),
            ("f47ac10b-58cc-4372-a567-0e02b2c3d479", "Investment"),
            ("6ba7b810-9dad-11d1-80b4-00c04fd430c8", "Shopping"),
            ("123e4567-e89b-12d3-a456-426614174000", "Transportation"),
            ("3d5f1c9e-8a47-4b0e-9c1d-2f6e7a8b9c0d", "Entertainment"),
        ];
        for (id, name) in expected {
            assert_eq!(category(Uuid::parse_str(id).unwrap()), name, "{id}");
        }
    }
}
