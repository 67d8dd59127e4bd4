//! A thread that takes commands.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::{self, JoinHandle};

/// Commands come from people and from the call's engine, a few per second at most; the thread
/// takes them at least every half second. When the queue is full the sender waits.
const COMMANDS: usize = 64;

/// Dropping it ends the thread, which sees its command channel closed, and waits for that.
pub struct Worker<C> {
    commands: Option<SyncSender<C>>,
    thread: Option<JoinHandle<()>>,
}

impl<C: Send + 'static> Worker<C> {
    /// Starts a thread. `died` is called if it panics or cannot be started.
    pub fn start(
        name: &str,
        work: impl FnOnce(Receiver<C>) + Send + 'static,
        died: impl Fn(String) + Send + Clone + 'static,
    ) -> Self {
        let (commands, received) = mpsc::sync_channel(COMMANDS);
        let report = died.clone();
        let guarded = move || {
            // A mistake in one pipeline must not end the call: it is reported, the rest goes on.
            if catch_unwind(AssertUnwindSafe(|| work(received))).is_err() {
                report("an internal error ended the thread".to_owned());
            }
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(guarded);
        if let Err(error) = &thread {
            died(error.to_string());
        }
        Self {
            commands: Some(commands),
            thread: thread.ok(),
        }
    }

    /// Sends a command and wakes the thread. Does nothing when the thread is gone.
    pub fn send(&self, command: C) {
        if let Some(commands) = &self.commands {
            let _ = commands.send(command);
        }
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl<C> Drop for Worker<C> {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            if thread.thread().id() != thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}
