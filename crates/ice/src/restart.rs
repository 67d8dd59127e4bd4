//! When ICE is restarted (RFC 8445 section 9, RFC 8863), and what is told meanwhile. Pure.
//!
//! ```text
//!             2 s without consent, or the path's address went, or the computer slept
//!   Healthy ───────────────────────────────────────────────────────────▶ Lost ──60 s──▶ GivenUp
//!      ▲                                                                  │  ▲
//!      └─────────────────────────── connected ────────────────────────────┘  └ again after 4, 8, 8… s
//! ```
//!
//! A restart needs an address to start from and a server that carries the offer; it waits for both.
//! After the network has changed it waits a little for it to settle. A new interface alone changes
//! nothing: the path works.

use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};

/// The network counts as settled so long after its last change: the old address goes, the new one
/// comes and gets its routes one after the other.
pub const SETTLE: Duration = Duration::from_millis(150);
/// It is not waited for longer than this, should changes not end.
pub const SETTLE_AT_MOST: Duration = Duration::from_secs(2);
/// From one restart to the next, at first: gathering, an exchange of descriptions and checks on a
/// slow path. Then twice that.
pub const FIRST_PAUSE: Duration = Duration::from_secs(4);
/// From one restart to the next, at most.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// So much longer the patient side waits for the other one to restart: a restart reaches it within
/// that on most paths, and two that cross cost another exchange.
pub const PATIENCE: Duration = Duration::from_millis(750);
/// A call is given up after this.
pub const GIVE_UP: Duration = Duration::from_secs(60);
/// The wall clock runs ahead of the process's by so much when the computer slept. Less is a clock
/// being set right; more makes network translators and the other side forget us.
pub const SLEPT: Duration = Duration::from_secs(5);

/// `RTCIceConnectionState` (webrtc-pc section 5.6.4), as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IceState {
    /// `new`, `checking`.
    Checking,
    /// `connected`, `completed`.
    Connected,
    /// `disconnected`: no answer for 2 s.
    Disconnected,
    /// `failed`.
    Failed,
    /// `closed`.
    Closed,
}

impl IceState {
    /// From its name in the specification.
    pub fn from_name(name: &str) -> Self {
        match name {
            "connected" | "completed" => Self::Connected,
            "disconnected" => Self::Disconnected,
            "failed" => Self::Failed,
            "closed" => Self::Closed,
            _ => Self::Checking,
        }
    }
}

/// Why ICE is restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// No consent, or checks that failed.
    NoConsent,
    /// The address that the path began at is gone.
    AddressGone,
    /// The computer slept.
    Slept,
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Nothing.
    Wait,
    /// Restart ICE.
    Restart(Reason),
    /// It took too long; told once.
    GiveUp,
}

/// What is being tried while there is no path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trying {
    /// The old path may come back by itself.
    Waiting,
    /// This computer has no network.
    WaitingForNetwork,
    /// The server that carries descriptions cannot be reached.
    WaitingForServer,
    /// A new path is looked for, for the so manieth time.
    NewPath {
        /// From 1.
        attempt: u32,
    },
    /// Nothing any more.
    GivenUp,
}

/// There is no path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovery {
    /// Since when.
    pub since: Instant,
    /// What is done about it.
    pub trying: Trying,
}

#[derive(Debug, Clone, Copy)]
struct Lost {
    since: Instant,
    reason: Reason,
    attempts: u32,
    last_attempt: Option<Instant>,
    given_up: bool,
}

/// Decides for one connection.
#[derive(Debug)]
pub struct RestartController {
    ice: IceState,
    /// There has been a path. Until then the caller's time limit for connecting holds.
    was_connected: bool,
    lost: Option<Lost>,
    /// Usable addresses of this computer; `None` before they are known, which counts as some.
    addresses: Option<Vec<IpAddr>>,
    /// Whether there is a way out of the local network.
    routed: Option<bool>,
    /// There was one while there was a path. Where there never was, its absence says nothing.
    was_routed: bool,
    /// Where the path begins on this computer.
    path: Option<IpAddr>,
    server_reachable: bool,
    /// First and last of the changes that the network is settling from.
    changing: Option<(Instant, Instant)>,
    clocks: Option<(Instant, SystemTime)>,
    patient: bool,
}

impl RestartController {
    /// Before the first path. `patient`: leaves the other side, which is not, time to restart when
    /// both miss consent.
    pub const fn new(patient: bool) -> Self {
        Self {
            patient,
            ice: IceState::Checking,
            was_connected: false,
            lost: None,
            addresses: None,
            routed: None,
            was_routed: false,
            path: None,
            server_reachable: true,
            changing: None,
            clocks: None,
        }
    }

    /// The state of ICE changed.
    pub fn ice_state(&mut self, state: IceState, now: Instant) {
        self.ice = state;
        match state {
            IceState::Connected => {
                self.was_connected = true;
                self.lost = None;
            }
            IceState::Disconnected | IceState::Failed => self.lose(Reason::NoConsent, now),
            IceState::Closed => self.lost = None,
            IceState::Checking => {}
        }
    }

    /// The other side made an offer. While there is no path it is taken for its restart.
    pub fn remote_offer(&mut self, now: Instant) {
        if let Some(lost) = &mut self.lost {
            lost.attempts += 1;
            lost.last_attempt = Some(now);
        }
    }

    /// The usable addresses of this computer: neither loopback nor link-local.
    pub fn addresses(&mut self, mut usable: Vec<IpAddr>, now: Instant) {
        usable.sort_unstable();
        usable.dedup();
        if self.addresses.as_ref() == Some(&usable) {
            return;
        }
        if self.addresses.replace(usable).is_some() {
            self.network_changed(now);
        }
    }

    /// Whether there is a way out of the local network: a pulled cable takes it and leaves the
    /// address.
    pub fn route(&mut self, there: bool, now: Instant) {
        let before = self.routed.replace(there);
        if before.is_some_and(|before| before != there) {
            self.network_changed(now);
        }
    }

    fn network_changed(&mut self, now: Instant) {
        let first = self.changing.map_or(now, |(first, _)| first);
        self.changing = Some((first, now));
    }

    /// Where the selected path begins on this computer, as far as that is known.
    pub fn path(&mut self, local: Option<IpAddr>) {
        self.path = local;
    }

    /// Whether the server that carries descriptions can be reached.
    pub fn server_reachable(&mut self, reachable: bool) {
        self.server_reachable = reachable;
    }

    /// What is being tried; `None` while there is a path, or before the first.
    pub fn recovery(&self) -> Option<Recovery> {
        let lost = self.lost?;
        let trying = if lost.given_up {
            Trying::GivenUp
        } else if self.is_offline() {
            Trying::WaitingForNetwork
        } else if lost.attempts > 0 {
            Trying::NewPath {
                attempt: lost.attempts,
            }
        } else if !self.server_reachable {
            Trying::WaitingForServer
        } else {
            Trying::Waiting
        };
        Some(Recovery {
            since: lost.since,
            trying,
        })
    }

    /// What is to be done; to be asked a few times a second. `wall` is compared with `now` to
    /// notice that the computer slept, since the clock behind `now` may stand still meanwhile.
    pub fn poll(&mut self, now: Instant, wall: SystemTime) -> Decision {
        if self.slept(now, wall) && self.ice == IceState::Connected {
            self.lose(Reason::Slept, now);
        }
        if self.ice == IceState::Connected && self.routed == Some(true) {
            self.was_routed = true;
        }
        let settled = self.settled(now);
        if settled && self.ice == IceState::Connected && self.path_is_gone() {
            self.lose(Reason::AddressGone, now);
        }
        let ready = settled && self.server_reachable && !self.is_offline();
        let was_connected = self.was_connected;
        let Some(lost) = &mut self.lost else {
            return Decision::Wait;
        };
        if lost.given_up {
            return Decision::Wait;
        }
        if was_connected && now.saturating_duration_since(lost.since) >= GIVE_UP {
            lost.given_up = true;
            return Decision::GiveUp;
        }
        let pause = FIRST_PAUSE
            .saturating_mul(1 << lost.attempts.saturating_sub(1).min(8))
            .min(LONGEST_PAUSE);
        let due = lost
            .last_attempt
            .is_none_or(|last| now.saturating_duration_since(last) >= pause);
        let patient = self.patient && lost.reason == Reason::NoConsent && lost.attempts == 0;
        let early = patient && now.saturating_duration_since(lost.since) < PATIENCE;
        if !ready || !due || early {
            return Decision::Wait;
        }
        lost.attempts += 1;
        lost.last_attempt = Some(now);
        // The new path may begin elsewhere.
        self.path = None;
        Decision::Restart(lost.reason)
    }

    fn lose(&mut self, reason: Reason, now: Instant) {
        self.lost.get_or_insert(Lost {
            since: now,
            reason,
            attempts: 0,
            last_attempt: None,
            given_up: false,
        });
    }

    fn is_offline(&self) -> bool {
        let unrouted = self.was_routed && self.routed == Some(false);
        unrouted || self.addresses.as_ref().is_some_and(Vec::is_empty)
    }

    fn path_is_gone(&self) -> bool {
        match (&self.addresses, self.path) {
            (Some(addresses), Some(path)) => !path.is_loopback() && !addresses.contains(&path),
            _ => false,
        }
    }

    /// Whether the network has come to rest. A change opens the way to a restart at once: what
    /// failed before it may work now.
    fn settled(&mut self, now: Instant) -> bool {
        let Some((first, last)) = self.changing else {
            return true;
        };
        let at_rest = now.saturating_duration_since(last) >= SETTLE
            || now.saturating_duration_since(first) >= SETTLE_AT_MOST;
        if at_rest {
            self.changing = None;
            if let Some(lost) = &mut self.lost {
                lost.last_attempt = None;
            }
        }
        at_rest
    }

    fn slept(&mut self, now: Instant, wall: SystemTime) -> bool {
        let Some((then, wall_then)) = self.clocks.replace((now, wall)) else {
            return false;
        };
        let by_wall = wall.duration_since(wall_then).unwrap_or_default();
        let by_process = now.saturating_duration_since(then);
        // Where the process's clock goes on in sleep, it is this one that jumps.
        by_wall.saturating_sub(by_process) >= SLEPT || by_process >= SLEPT
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TICK: Duration = Duration::from_millis(100);

    struct World {
        controller: RestartController,
        now: Instant,
        wall: SystemTime,
    }

    impl World {
        fn connected() -> Self {
            let mut world = Self {
                controller: RestartController::new(false),
                now: Instant::now(),
                wall: SystemTime::UNIX_EPOCH,
            };
            world.addresses(&["192.168.1.5"]);
            world.ice(IceState::Connected);
            world
                .controller
                .path(Some("192.168.1.5".parse().expect("address")));
            assert_eq!(world.run(TICK), []);
            world
        }

        fn addresses(&mut self, addresses: &[&str]) {
            let addresses = addresses.iter().map(|it| it.parse().expect("address"));
            self.controller.addresses(addresses.collect(), self.now);
        }

        fn ice(&mut self, state: IceState) {
            self.controller.ice_state(state, self.now);
        }

        /// What was decided, with the time from the beginning in ms.
        fn run(&mut self, time: Duration) -> Vec<(u64, Decision)> {
            let begin = self.now;
            let mut decisions = Vec::new();
            while self.now < begin + time {
                self.now += TICK;
                self.wall += TICK;
                match self.controller.poll(self.now, self.wall) {
                    Decision::Wait => {}
                    decision => decisions.push(((self.now - begin).as_millis() as u64, decision)),
                }
            }
            decisions
        }

        fn trying(&self) -> Option<Trying> {
            self.controller.recovery().map(|recovery| recovery.trying)
        }
    }

    #[test]
    fn a_healthy_path_is_left_alone_whatever_comes_along() {
        let mut world = World::connected();
        world.addresses(&["192.168.1.5", "10.8.0.2"]);
        assert_eq!(world.run(Duration::from_secs(3)), []);
        world.addresses(&["192.168.1.5"]);
        assert_eq!(world.run(Duration::from_secs(3)), []);
        assert_eq!(world.trying(), None);
    }

    #[test]
    fn without_consent_it_restarts_at_once_and_again_until_given_up() {
        let mut world = World::connected();
        world.ice(IceState::Disconnected);
        assert_eq!(world.trying(), Some(Trying::Waiting));
        let decisions = world.run(Duration::from_secs(70));
        let times: Vec<_> = decisions.iter().map(|(at, _)| *at).collect();
        assert_eq!(
            times,
            [
                100, 4100, 12_100, 20_100, 28_100, 36_100, 44_100, 52_100, 60_000
            ]
        );
        assert_eq!(decisions[0].1, Decision::Restart(Reason::NoConsent));
        assert_eq!(decisions.last().expect("some").1, Decision::GiveUp);
        assert_eq!(world.trying(), Some(Trying::GivenUp));
        world.ice(IceState::Connected);
        assert_eq!(world.trying(), None);
    }

    #[test]
    fn a_move_is_noticed_before_consent_ends_and_waits_for_the_new_network() {
        let mut world = World::connected();
        world.addresses(&[]);
        assert_eq!(world.run(Duration::from_secs(1)), []);
        assert_eq!(world.trying(), Some(Trying::WaitingForNetwork));
        world.ice(IceState::Disconnected);
        assert_eq!(world.run(Duration::from_secs(4)), []);
        world.addresses(&["fe80::9"]);
        world.addresses(&["10.1.1.7"]);
        assert_eq!(
            world.run(Duration::from_secs(3)),
            [(200, Decision::Restart(Reason::AddressGone))]
        );
        assert_eq!(world.trying(), Some(Trying::NewPath { attempt: 1 }));
        world.ice(IceState::Checking);
        world.ice(IceState::Connected);
        assert_eq!(world.trying(), None);
        assert_eq!(world.run(Duration::from_secs(9)), []);
    }

    #[test]
    fn a_pulled_cable_is_waited_for_although_the_address_stays() {
        let mut world = World::connected();
        world.controller.route(true, world.now);
        assert_eq!(world.run(TICK), []);
        world.controller.route(false, world.now);
        assert_eq!(world.run(Duration::from_secs(2)), []);
        world.ice(IceState::Disconnected);
        assert_eq!(world.run(Duration::from_secs(20)), []);
        assert_eq!(world.trying(), Some(Trying::WaitingForNetwork));
        world.controller.route(true, world.now);
        assert_eq!(
            world.run(Duration::from_secs(2)),
            [(200, Decision::Restart(Reason::NoConsent))]
        );
    }

    #[test]
    fn a_network_that_leads_nowhere_else_needs_no_route() {
        let mut world = World::connected();
        world.controller.route(false, world.now);
        assert_eq!(world.run(TICK), []);
        world.ice(IceState::Disconnected);
        assert_eq!(world.run(Duration::from_secs(1)).len(), 1);
    }

    #[test]
    fn another_change_does_not_wait_for_the_pause() {
        let mut world = World::connected();
        world.addresses(&["10.1.1.7"]);
        assert_eq!(world.run(Duration::from_secs(1)).len(), 1);
        world.addresses(&["10.2.2.8"]);
        assert_eq!(
            world.run(Duration::from_secs(1)),
            [(200, Decision::Restart(Reason::AddressGone))]
        );
    }

    #[test]
    fn changes_without_end_are_not_waited_for() {
        let mut world = World::connected();
        let mut decided = Vec::new();
        for round in 0..30 {
            world.addresses(&[&format!("10.1.1.{}", round + 1)]);
            decided.extend(world.run(TICK));
        }
        assert_eq!(decided.len(), 1);
    }

    #[test]
    fn sleep_is_noticed_by_either_clock() {
        for stands_still in [true, false] {
            let mut world = World::connected();
            world.wall += Duration::from_secs(60);
            if !stands_still {
                world.now += Duration::from_secs(60);
            }
            assert_eq!(
                world.run(Duration::from_secs(2)),
                [(100, Decision::Restart(Reason::Slept))]
            );
        }
        let mut world = World::connected();
        world.wall += Duration::from_secs(2);
        assert_eq!(world.run(Duration::from_secs(2)), []);
        world.wall -= Duration::from_secs(86_400 * 365);
        assert_eq!(world.run(Duration::from_secs(2)), [], "set back");
    }

    #[test]
    fn the_patient_side_lets_the_other_one_restart() {
        let mut world = World::connected();
        world.controller.patient = true;
        world.ice(IceState::Disconnected);
        assert_eq!(world.run(2 * TICK), []);
        world.controller.remote_offer(world.now);
        world.ice(IceState::Checking);
        assert_eq!(world.run(Duration::from_secs(3)), []);
        world.ice(IceState::Connected);
        world.ice(IceState::Disconnected);
        assert_eq!(
            world.run(Duration::from_secs(2)),
            [(800, Decision::Restart(Reason::NoConsent))],
            "the other one does nothing"
        );
    }

    #[test]
    fn it_waits_for_the_server() {
        let mut world = World::connected();
        world.controller.server_reachable(false);
        world.ice(IceState::Disconnected);
        assert_eq!(world.run(Duration::from_secs(20)), []);
        assert_eq!(world.trying(), Some(Trying::WaitingForServer));
        world.controller.server_reachable(true);
        assert_eq!(world.run(Duration::from_secs(1)).len(), 1);
    }

    #[test]
    fn before_the_first_path_it_restarts_and_does_not_give_up() {
        let mut controller = RestartController::new(false);
        let (mut now, mut wall) = (Instant::now(), SystemTime::UNIX_EPOCH);
        controller.ice_state(IceState::Failed, now);
        let mut restarts = 0;
        for _ in 0..400 {
            now += TICK;
            wall += TICK;
            match controller.poll(now, wall) {
                Decision::Restart(_) => restarts += 1,
                Decision::Wait => {}
                Decision::GiveUp => panic!("the caller gives up"),
            }
        }
        assert!(restarts > 5, "{restarts}");
    }

    proptest! {
        #[test]
        fn restarts_are_never_a_storm(
            steps in prop::collection::vec((0_u8..9, 0_u64..3000), 0..200),
        ) {
            let mut world = World::connected();
            let begin = world.now;
            let (mut restarts, mut occasions) = (0, 1);
            for (what, ms) in steps {
                // A path that comes back, a change of the network or a sleep may begin it anew.
                occasions += usize::from(matches!(what, 0 | 4 | 5 | 6 | 8));
                match what {
                    0 => world.ice(IceState::Connected),
                    1 => world.ice(IceState::Disconnected),
                    2 => world.ice(IceState::Failed),
                    3 => world.ice(IceState::Checking),
                    4 => world.addresses(&[]),
                    5 => world.addresses(&["10.0.0.1"]),
                    6 => world.addresses(&["10.0.0.1", "10.0.0.2"]),
                    7 => world.controller.server_reachable(ms % 2 == 0),
                    _ => world.wall += Duration::from_millis(3 * ms),
                }
                for (_, decision) in world.run(Duration::from_millis(ms)) {
                    if matches!(decision, Decision::Restart(_)) {
                        restarts += 1;
                        let ready = !world.controller.is_offline() && world.controller.server_reachable;
                        prop_assert!(ready, "nothing to restart with");
                    }
                }
            }
            let in_turn = (world.now - begin).as_millis() / FIRST_PAUSE.as_millis();
            prop_assert!(restarts <= occasions + in_turn as usize, "{restarts}");
        }
    }
}
