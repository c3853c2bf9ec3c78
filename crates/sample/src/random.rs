/// The splitmix64 generator (Steele, Lea, Flood 2014). Our own, so that no update of a library changes a sample.
pub(crate) struct Random(u64);

impl Random {
    /// A generator for one row, whatever rows came before.
    pub(crate) fn of_row(seed: u64, row: u64) -> Self {
        Self(mix(seed).wrapping_add(mix(row)))
    }

    /// A number from 0 to below `limit`, which is above 0.
    #[expect(clippy::cast_possible_truncation, reason = "the rest is below a usize")]
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        (mix(self.0) % limit as u64) as usize
    }

    /// Any of `items`, which are not empty.
    pub(crate) fn any<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
