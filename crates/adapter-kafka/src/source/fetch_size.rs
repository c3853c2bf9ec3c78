//! The size of a fetch.

/// For so small a size, a broker sends exactly one batch.
pub(super) const ONE_BATCH: i32 = 1;

/// How many bytes the next fetch asks for.
///
/// One batch that the client cannot decode costs all others of the response, and in a topic full of small transactions
/// every second batch is one. So after such a response a single batch is fetched, then small sizes that grow again as
/// long as that goes well.
#[derive(Debug)]
pub(super) struct FetchSize {
    limit: i32,
    most: i32,
    single: bool,
}

impl FetchSize {
    pub(super) const fn new(most: i32) -> Self {
        let most = if most < ONE_BATCH { ONE_BATCH } else { most };
        Self { limit: most, most, single: false }
    }

    pub(super) const fn limit(&self) -> i32 {
        if self.single { ONE_BATCH } else { self.limit }
    }

    /// The largest fetch.
    pub(super) const fn most(&self) -> i32 {
        self.most
    }

    /// A fetch of several batches held one that cannot be decoded.
    pub(super) fn failed(&mut self) {
        self.limit = (self.limit / 2).max(ONE_BATCH);
        self.single = true;
    }

    /// A fetch succeeded.
    pub(super) fn went_well(&mut self) {
        if !self.single {
            self.limit = self.limit.saturating_mul(2).min(self.most);
        }
        self.single = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_batch_after_a_failure_and_then_half() {
        let mut fetch_size = FetchSize::new(1000);
        assert_eq!(fetch_size.limit(), 1000);
        fetch_size.failed();
        assert_eq!(fetch_size.limit(), ONE_BATCH);
        fetch_size.went_well();
        assert_eq!(fetch_size.limit(), 500);
        fetch_size.went_well();
        assert_eq!(fetch_size.limit(), 1000);
        fetch_size.went_well();
        assert_eq!(fetch_size.limit(), 1000);
    }

    #[test]
    fn it_never_asks_for_nothing() {
        let mut fetch_size = FetchSize::new(0);
        for _ in 0..3 {
            assert_eq!(fetch_size.limit(), ONE_BATCH);
            fetch_size.failed();
        }
    }
}
