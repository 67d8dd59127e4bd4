//! When what was captured may leave: not what was captured while muted, also when it is taken only
//! after unmuting, since blocks are taken several at a time.

/// Decides it block by block.
#[derive(Debug, Default)]
pub(crate) struct Mute {
    /// Muted when the last batch was taken: what came since was captured while it was so.
    before: bool,
    /// Muted when the last block of this batch was taken.
    now: Option<bool>,
}

impl Mute {
    /// Whether the next block is to be silence, being taken while it is `muted` or not.
    pub(crate) fn silences(&mut self, muted: bool) -> bool {
        self.now = Some(muted);
        muted || self.before
    }

    /// Everything that was there has been taken.
    pub(crate) fn batch_taken(&mut self) {
        self.before = self.now.take().unwrap_or(self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_captured_before_unmuting_stays_here() {
        let mut mute = Mute::default();
        assert!(!mute.silences(false));
        assert!(mute.silences(true), "at once, also within a batch");
        mute.batch_taken();
        mute.batch_taken();
        assert!(mute.silences(false), "it was here before");
        assert!(mute.silences(false));
        mute.batch_taken();
        assert!(!mute.silences(false));
    }
}
