/// One cut to make.
pub(super) struct Rule {
    pub(super) when: When,
    /// Matching requests from here on, the one that fires included.
    pub(super) left: u64,
    pub(super) matches: Matches,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    BeforeRequest,
    BeforeAnswer,
}

pub(super) enum Matches {
    Commit,
    Bytes(Test),
}

type Test = Box<dyn Fn(&[u8]) -> bool + Send>;

/// What answer a connection is cut at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaited {
    Anything,
    Commit,
}

impl Rule {
    /// Counts a request; true when this is the one.
    pub(super) fn meets(&mut self, request: &[u8], is_commit: bool) -> bool {
        let matched = match &self.matches {
            Matches::Commit => is_commit,
            Matches::Bytes(matches) => matches(request),
        };
        self.left -= u64::from(matched);
        self.left == 0
    }

    pub(super) fn awaited(&self) -> Awaited {
        match self.matches {
            Matches::Commit => Awaited::Commit,
            Matches::Bytes(_) => Awaited::Anything,
        }
    }
}
