//! When what was captured may leave: not what was here already when unmuting, since blocks are taken
//! several at a time and the beginning of the next one may be here as well.

/// Decides it block by block.
#[derive(Debug, Default)]
pub(crate) struct Mute {
    /// Muted during the last batch: what this one holds was here while it was so.
    before: bool,
    /// Muted since this batch began.
    now: Option<bool>,
    /// The next block began while muted.
    begun: bool,
}

impl Mute {
    /// Whether the next block is to be silence, being taken while it is `muted` or not.
    pub(crate) fn silences(&mut self, muted: bool) -> bool {
        let now = muted || self.now == Some(true);
        self.now = Some(now);
        std::mem::take(&mut self.begun) || now || self.before
    }

    /// Everything that was there has been taken.
    pub(crate) fn batch_taken(&mut self) {
        if let Some(now) = self.now.take() {
            self.begun = self.before && !now;
            self.before = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_here_when_unmuting_stays_here() {
        let mut mute = Mute::default();
        assert!(!mute.silences(false));
        assert!(mute.silences(true), "at once, also within a batch");
        mute.batch_taken();
        mute.batch_taken();
        assert!(mute.silences(false), "it was here before");
        assert!(mute.silences(false));
        mute.batch_taken();
        mute.batch_taken();
        assert!(mute.silences(false), "it began before");
        assert!(!mute.silences(false));
    }

    #[test]
    fn unmuting_within_a_batch_begins_with_the_one_after_the_next() {
        let mut mute = Mute::default();
        assert!(mute.silences(true));
        assert!(mute.silences(false));
        mute.batch_taken();
        assert!(mute.silences(false));
        mute.batch_taken();
        assert!(mute.silences(false));
        assert!(!mute.silences(false));
    }
}
