//! The one task that owns the call: it takes commands, and what the signaling link, the
//! participants and the media threads report, one at a time, and publishes a snapshot after each.

use std::time::{Duration, Instant};

use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::MissedTickBehavior;

use super::state::{EngineTask, Input};
use super::{Command, EngineConfig};
use crate::view::{CallEvent, CallView, EndReason};

/// What waits for the task from below. Candidates are the most numerous: some tens for each of
/// nine participants. Whoever finds it full waits; media threads instead drop the report.
const INPUT_CAPACITY: usize = 1024;

/// How often timeouts and the encoder's rate are looked at: as often as there is feedback.
const TICK: Duration = Duration::from_millis(50);

/// Starts the task and the local media.
pub(super) fn spawn(
    config: EngineConfig,
    commands: mpsc::Receiver<Command>,
    events: broadcast::Sender<CallEvent>,
) -> watch::Receiver<CallView> {
    let (inputs, from_below) = mpsc::channel(INPUT_CAPACITY);
    let task = EngineTask::new(config, inputs, events);
    let (view, watched) = watch::channel(task.snapshot(Instant::now()));
    tokio::spawn(task.run(commands, from_below, view));
    watched
}

impl EngineTask {
    async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut from_below: mpsc::Receiver<Input>,
        view: watch::Sender<CallView>,
    ) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let closed = loop {
            tokio::select! {
                command = commands.recv() => match command {
                    None => break None,
                    Some(Command::Close(done)) => break Some(done),
                    Some(command) => self.command(command).await,
                },
                Some(input) = from_below.recv() => self.input(input).await,
                _ = tick.tick() => self.tick().await,
            }
            self.publish(&view);
        };
        self.end_call(EndReason::HungUp);
        self.publish(&view);
        // Nobody takes what is still reported, so nobody waits for room to report it.
        drop(from_below);
        // Joining media threads blocks; whoever waits for it sits on another task.
        let local = self.local;
        let released = tokio::task::spawn_blocking(move || drop(local));
        // A program that ends with its goodbyes unsaid would be taken for one that crashed.
        self.goodbyes.said().await;
        let _ = released.await;
        if let Some(done) = closed {
            let _ = done.send(());
        }
    }

    async fn input(&mut self, input: Input) {
        match input {
            Input::Link(call, output) if call == self.call => self.link_output(output).await,
            Input::Participant(seat, id, output) if seat == self.seats => {
                self.participant_output(id, output).await;
            }
            Input::Link(..) | Input::Participant(..) => {}
            Input::Media(event) => self.media_event(event),
        }
        if !self.session.in_call() && self.link.is_some() {
            self.release_call();
        }
    }
}
