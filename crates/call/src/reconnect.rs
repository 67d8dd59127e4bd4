//! Keeps one connection alive: watches the network and the clock for it, and says when ICE is to be
//! restarted. What is decided is in [`ahoy_ice::restart`].

use std::time::{Duration, Instant, SystemTime};

use ahoy_ice::restart::{Decision, IceState, Recovery, RestartController, Trying};
use ahoy_ice::watch::{AddressWatch, has_route};
use serde::{Deserialize, Serialize};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::transport::Transport;
use crate::view::ConnectionStates;

/// Between two looks at the clock and the routes: some 20 µs each, and what a restart waits at most.
const TICK: Duration = Duration::from_millis(100);
/// Every so many looks it is asked where the path begins; it moves only with a restart.
const PATH_TICKS: u32 = 20;

/// What is being tried while there is no path to somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "specta", derive(specta::Type))]
#[serde(rename_all = "camelCase", tag = "trying")]
pub enum ReconnectView {
    /// The old path may come back by itself.
    Waiting,
    /// This computer has no network.
    WaitingForNetwork,
    /// The server that carries descriptions cannot be reached.
    WaitingForServer,
    /// A new path is looked for.
    NewPath {
        /// For the so manieth time, from 1.
        attempt: u32,
    },
}

impl ReconnectView {
    fn of(recovery: Recovery) -> Self {
        match recovery.trying {
            Trying::Waiting | Trying::GivenUp => Self::Waiting,
            Trying::WaitingForNetwork => Self::WaitingForNetwork,
            Trying::WaitingForServer => Self::WaitingForServer,
            Trying::NewPath { attempt } => Self::NewPath { attempt },
        }
    }
}

/// What follows from a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Step {
    /// Restart ICE now.
    pub(crate) restart: bool,
    /// What is to be shown, if that has changed.
    pub(crate) shown: Option<Option<ReconnectView>>,
}

/// Belongs to the task of one participant.
#[derive(Debug)]
pub(crate) struct Reconnect {
    controller: RestartController,
    addresses: AddressWatch,
    ticks: Interval,
    until_path: u32,
    connected: bool,
    shown: Option<ReconnectView>,
}

impl Reconnect {
    /// `patient`: leaves the other side time to restart first, so that not both do.
    pub(crate) fn start(patient: bool) -> Self {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            controller: RestartController::new(patient),
            addresses: AddressWatch::start(),
            ticks,
            until_path: 0,
            connected: false,
            shown: None,
        }
    }

    /// The states of the connection changed.
    pub(crate) fn states(&mut self, states: &ConnectionStates) {
        let state = IceState::from_name(&states.ice_connection);
        self.controller.ice_state(state, Instant::now());
        let connected = state == IceState::Connected;
        if connected && !self.connected {
            self.until_path = 0;
        }
        self.connected = connected;
    }

    /// The other side made an offer: should it restart ICE, another restart must wait for it.
    pub(crate) fn remote_offer(&mut self) {
        self.controller.remote_offer(Instant::now());
    }

    /// Waits for the next look. May be dropped at any time.
    pub(crate) async fn next(&mut self, transport: &Transport) -> Step {
        tokio::select! {
            addresses = self.addresses.changed() => {
                self.controller.addresses(addresses, Instant::now());
            }
            _ = self.ticks.tick() => {}
        }
        self.look(transport).await
    }

    async fn look(&mut self, transport: &Transport) -> Step {
        if self.connected {
            if self.until_path == 0 {
                self.controller.path(transport.local_address().await);
                self.until_path = PATH_TICKS;
            }
            self.until_path -= 1;
        }
        self.controller.route(has_route(), Instant::now());
        let decision = self.controller.poll(Instant::now(), SystemTime::now());
        let restart = match decision {
            Decision::Wait | Decision::GiveUp => false,
            Decision::Restart(reason) => {
                tracing::info!(?reason, "looking for a new path");
                true
            }
        };
        let showing = self.controller.recovery().map(ReconnectView::of);
        let changed = showing != self.shown;
        self.shown = showing;
        Step {
            restart,
            shown: changed.then_some(showing),
        }
    }
}
