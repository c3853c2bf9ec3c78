/// One cut to make.
pub(super) struct Rule {
    pub(super) when: When,
    /// Commits from here on, the one that fires included.
    pub(super) left: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    BeforeRequest,
    BeforeAnswer,
}
