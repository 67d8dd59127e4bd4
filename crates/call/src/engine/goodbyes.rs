//! Goodbyes that are being said after a call has ended for the user: to the server, which gives our
//! seat to nobody else before, and to the others.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long goodbyes keep the engine from closing. Each has a limit of its own within it, but for
/// a room that is just being entered.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Those under way.
#[derive(Debug, Default)]
pub(super) struct Goodbyes {
    server: Option<JoinHandle<()>>,
    participants: Vec<JoinHandle<()>>,
}

impl Goodbyes {
    /// The link to a server ends with this task, which waits for those before it.
    pub(super) fn server(&mut self, goodbye: JoinHandle<()>) {
        self.server = Some(goodbye);
    }

    /// What the next link has to wait for, so that a server hears of us one thing after the other:
    /// whoever comes back to a room at once is not to meet themselves there.
    pub(super) fn former_server(&mut self) -> Option<JoinHandle<()>> {
        self.server.take()
    }

    /// The connection to a participant ends with this task.
    pub(super) fn participant(&mut self, goodbye: JoinHandle<()>) {
        self.participants.retain(|former| !former.is_finished());
        self.participants.push(goodbye);
    }

    /// Waits, not for ever, until all are said.
    pub(super) async fn said(self) {
        let all = async {
            for goodbye in self.participants.into_iter().chain(self.server) {
                // A task that failed says nothing any more.
                let _ = goodbye.await;
            }
        };
        if timeout(PATIENCE, all).await.is_err() {
            tracing::warn!("not everybody has heard the goodbye");
        }
    }
}
