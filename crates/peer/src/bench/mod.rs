//! `ahoy-peer bench`: one side of a measured call, driven by a harness over a WebSocket.
//!
//! The call is made of the same parts as any other: the clip goes through the capture trait and
//! the encoder, the connection is a [`Participant`]. Only the room is missing: descriptions and
//! candidates travel through the harness.

mod clock;
mod env;
mod fidelity;
mod link;
mod log;
mod messages;
mod pulses;
mod side;
mod stats;

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use crate::exit::{Exit, Failure};
use crate::signals;
use env::BenchConfig;
use link::{LinkReceiver, LinkSender};
use messages::{Incoming, Mark, Outgoing};
use side::{Notice, Side};

/// How often the log is sent.
const LOG_INTERVAL: Duration = Duration::from_millis(500);
/// How often the encoder's target follows the estimate, as in every call.
const ADAPTATION_INTERVAL: Duration = Duration::from_millis(50);
/// How often the state of the call is sent between the marks.
const TICK_INTERVAL: Duration = Duration::from_secs(1);

/// Runs until the harness says goodbye.
///
/// # Errors
/// [`Exit::BadArguments`] for the environment, [`Exit::Server`] when the harness is gone.
pub(crate) async fn run() -> Result<(), Failure> {
    let config = BenchConfig::read(|name| std::env::var(name).ok())
        .map_err(|message| Failure::new(Exit::BadArguments, message))?;
    let (sender, receiver) = link::connect(&config.signal_url).await?;
    let (side, notices) = Side::start(config);
    let mut bench = Bench {
        side,
        sender,
        ticking: false,
    };
    let outcome = bench.serve(receiver, notices).await;
    bench.sender.close().await;
    bench.side.end().await;
    outcome
}

struct Bench {
    side: Side,
    sender: LinkSender,
    /// Between the marks.
    ticking: bool,
}

impl Bench {
    async fn serve(
        &mut self,
        mut receiver: LinkReceiver,
        mut notices: mpsc::Receiver<Notice>,
    ) -> Result<(), Failure> {
        let mut asked_to_end = std::pin::pin!(signals::asked_to_end());
        let mut log = every(LOG_INTERVAL);
        let mut adaptation = every(ADAPTATION_INTERVAL);
        let mut tick = every(TICK_INTERVAL);
        loop {
            tokio::select! {
                message = receiver.receive() => match message? {
                    Ok(Incoming::Bye) => {
                        // Whoever says goodbye may be gone at once.
                        let _ = self.flush().await;
                        return Ok(());
                    }
                    Ok(Incoming::Mark { name }) => {
                        tick = every(TICK_INTERVAL);
                        self.mark(name).await?;
                    }
                    Ok(message) => self.incoming(message).await?,
                    Err(error) => self.send(Outgoing::Error { error }).await?,
                },
                Some(notice) = notices.recv() => self.notice(notice).await?,
                _ = log.tick() => self.flush().await?,
                _ = adaptation.tick() => self.side.adapt(),
                _ = tick.tick(), if self.ticking => {
                    let tick = self.side.tick().await;
                    self.send(Outgoing::Tick(tick)).await?;
                }
                () = &mut asked_to_end => return Ok(()),
            }
        }
    }

    async fn incoming(&mut self, message: Incoming) -> Result<(), Failure> {
        let replies = self.side.incoming(message);
        self.send_all(replies).await
    }

    async fn notice(&mut self, notice: Notice) -> Result<(), Failure> {
        let messages = self.side.notice(notice);
        self.send_all(messages).await?;
        self.side.check()
    }

    async fn mark(&mut self, name: Mark) -> Result<(), Failure> {
        self.ticking = name == Mark::Begin;
        self.side.set_measuring(self.ticking);
        if name == Mark::End {
            self.flush().await?;
        }
        let mut stats = stats::by_type(&self.side.stats().await);
        if let Some(fidelity) = self.side.fidelity() {
            stats["fidelity"] = fidelity;
        }
        self.send(Outgoing::Stats { name, stats }).await
    }

    async fn flush(&mut self) -> Result<(), Failure> {
        let (entries, dropped) = self.side.take_log();
        self.send(Outgoing::Log(entries)).await?;
        if dropped > 0 {
            let error = format!("{dropped} log entries were dropped: the harness reads too slowly");
            self.send(Outgoing::Error { error }).await?;
        }
        Ok(())
    }

    async fn send_all(&mut self, messages: Vec<Outgoing>) -> Result<(), Failure> {
        for message in messages {
            self.send(message).await?;
        }
        Ok(())
    }

    async fn send(&mut self, message: Outgoing) -> Result<(), Failure> {
        Ok(self.sender.send(&message).await?)
    }
}

/// Ticks, the first time after one period.
fn every(period: Duration) -> Interval {
    let mut interval = interval_at(Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}
