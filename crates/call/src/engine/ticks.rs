//! What is looked at every so often.

use std::time::Instant;

use super::state::EngineTask;

/// One second between two tries to make ourselves known.
const TICKS_PER_REMINDER: u32 = 20;

/// Half a second between two looks at the quality of the connections.
const TICKS_PER_QUALITY: u32 = 10;

impl EngineTask {
    pub(super) async fn tick(&mut self) {
        if let Some(verification) = &mut self.verification {
            let outputs = verification.tick(Instant::now());
            self.verify(outputs).await;
        }
        for id in self.session.vanishing(Instant::now()) {
            self.vanish(id);
        }
        for id in self.session.overdue(Instant::now()) {
            self.given_up(id);
        }
        if !self.session.in_call() && self.link.is_some() {
            self.release_call();
        }
        self.ticks = self.ticks.wrapping_add(1);
        if self.ticks.is_multiple_of(TICKS_PER_REMINDER) {
            if self.ice_servers.is_due(Instant::now())
                && let Some(link) = &self.link
            {
                link.ask_for_ice_servers().await;
            }
            self.remind_the_silent();
            self.tell_gaps();
        }
        self.local.watch_microphone(Instant::now());
        self.adapt();
        if self.ticks.is_multiple_of(TICKS_PER_QUALITY) {
            self.watch_quality();
        }
    }
}
