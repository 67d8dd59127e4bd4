//! Who is in the room and where the call stands: pure, without sockets or clocks of its own.
//!
//! ```text
//!                 created/joined          participant          first "connected"
//! Idle ─► Joining ───────────► Waiting ───────────► Connecting ───────────► Connected
//!            │                  ▲   ▲                    │                  │      ▲
//!            │                  │   └── the last one was lost ──────────────┤      │
//!            ▼                  │                        │                  ▼      │
//!          Ended ◄── the last one left, hang-up, failure ┴──────────── Reconnecting┘
//! ```

use std::time::{Duration, Instant};

use crate::view::{CallState, ConnectionStates, EndReason, ParticipantId};

/// A first connection that does not stand by then is given up. Long enough for every ICE
/// candidate pair to be tried over a slow path, short enough to be waited for.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// An interrupted connection that does not come back is given up after this.
pub const RECONNECT_TIMEOUT: Duration = Duration::from_secs(60);

/// An interrupted connection to somebody whose program died counts as a departure after this. Theirs
/// died when their connection to the server was closed without a goodbye, or when the server is gone
/// with them, so that nobody can tell. ICE notices silence after about 2.5 s, and both together stay
/// below the 5 s within which people expect to know. Should it have been the network after all, their
/// connection is kept for as long as that of anybody else, see [`Session::vanishing`].
pub const PRESUMED_GONE: Duration = Duration::from_millis(1500);

/// Others in a room, as far as we go along: twice as many as fit, for those whose seat was given up while
/// they are still heard. A server that makes people up is not listened to beyond.
pub const MAX_OTHERS: usize = 20;

/// Why a participant is no longer there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Departure {
    /// They hung up.
    Left,
    /// They vanished: the program or its network died.
    Lost,
}

/// How the connection to one participant is doing, condensed from its W3C states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Connecting {
        since: Instant,
    },
    Connected,
    Interrupted {
        since: Instant,
    },
    /// Presumed gone: not there for anybody who looks, but their connection may come back.
    Vanished {
        since: Instant,
    },
}

#[derive(Debug)]
struct Member {
    id: ParticipantId,
    link: Link,
    /// By what the server knows, their program died, or they gave their seat up.
    presumed_gone: bool,
}

impl Member {
    const fn has_vanished(&self) -> bool {
        matches!(self.link, Link::Vanished { .. })
    }
}

fn is_up(since: Instant, limit: Duration, now: Instant) -> bool {
    now.saturating_duration_since(since) >= limit
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Idle,
    Joining,
    InRoom,
    Ended(EndReason),
}

/// The state of our one call.
#[derive(Debug)]
pub struct Session {
    phase: Phase,
    members: Vec<Member>,
    connected_since: Option<Instant>,
    server_lost: bool,
}

impl Default for Session {
    fn default() -> Self {
        Self::new()
    }
}

impl Session {
    /// No call.
    pub const fn new() -> Self {
        Self {
            phase: Phase::Idle,
            members: Vec::new(),
            connected_since: None,
            server_lost: false,
        }
    }

    /// The user asked for a call. Forgets the last one.
    pub fn begin(&mut self) {
        *self = Self {
            phase: Phase::Joining,
            ..Self::new()
        };
    }

    /// The server put us into a room together with `others`.
    pub fn joined(&mut self, others: &[ParticipantId], now: Instant) {
        if self.phase == Phase::Joining {
            self.phase = Phase::InRoom;
            for &id in others {
                self.participant_joined(id, now);
            }
        }
    }

    /// Somebody came in. `false` when they were there already, or there is no room or no more space.
    pub fn participant_joined(&mut self, id: ParticipantId, now: Instant) -> bool {
        if self.phase != Phase::InRoom || self.has(id) || self.members.len() >= MAX_OTHERS {
            return false;
        }
        self.members.push(Member {
            id,
            link: Link::Connecting { since: now },
            presumed_gone: false,
        });
        self.members.sort_by_key(|member| member.id);
        true
    }

    /// Somebody is gone. `false` when they were not there.
    pub fn participant_left(&mut self, id: ParticipantId, departure: Departure) -> bool {
        let Some(at) = self.members.iter().position(|member| member.id == id) else {
            return false;
        };
        let vanished = self.members.remove(at).has_vanished();
        // That somebody who vanished is lost is no news, but that they hung up is.
        if !self.anybody_there() && (!vanished || departure == Departure::Left) {
            self.last_one_gone(departure);
        }
        true
    }

    /// Those who are presumed gone from `now` on. The caller reports each through [`Self::vanish`] and
    /// keeps their connection until they are [overdue](Self::overdue).
    pub fn vanishing(&self, now: Instant) -> Vec<ParticipantId> {
        let presumed = |member: &&Member| match member.link {
            Link::Interrupted { since } => {
                (self.server_lost || member.presumed_gone) && is_up(since, PRESUMED_GONE, now)
            }
            Link::Connecting { .. } | Link::Connected | Link::Vanished { .. } => false,
        };
        self.members
            .iter()
            .filter(presumed)
            .map(|member| member.id)
            .collect()
    }

    /// Somebody is presumed gone: as if they were not there, until they are heard again.
    pub fn vanish(&mut self, id: ParticipantId) {
        let mut members = self.members.iter_mut();
        if let Some(member) = members.find(|member| member.id == id)
            && let Link::Interrupted { since } = member.link
        {
            member.link = Link::Vanished { since };
            if !self.anybody_there() {
                self.last_one_gone(Departure::Lost);
            }
        }
    }

    /// Whether somebody is presumed gone.
    pub fn has_vanished(&self, id: ParticipantId) -> bool {
        let mut members = self.members.iter();
        members.any(|member| member.id == id && member.has_vanished())
    }

    fn anybody_there(&self) -> bool {
        self.members.iter().any(|member| !member.has_vanished())
    }

    /// The server has given their seat up after it heard nothing of them for long. Whoever we still
    /// hear stays; `false` for anybody else, who is gone.
    pub fn stays_without_seat(&mut self, id: ParticipantId) -> bool {
        let mut members = self.members.iter_mut();
        let found = members.find(|member| member.id == id && member.link == Link::Connected);
        if let Some(member) = found {
            member.presumed_gone = true;
            return true;
        }
        false
    }

    /// Their connection to the server broke; `crashed` when it was closed without a goodbye.
    pub fn participant_away(&mut self, id: ParticipantId, crashed: bool) {
        if let Some(member) = self.members.iter_mut().find(|member| member.id == id) {
            member.presumed_gone = crashed;
        }
    }

    /// They have a connection to the server again.
    pub fn participant_back(&mut self, id: ParticipantId) {
        self.participant_away(id, false);
    }

    fn last_one_gone(&mut self, departure: Departure) {
        let met = self.connected_since.is_some();
        match departure {
            Departure::Left if met => self.end(EndReason::EveryoneLeft),
            // Without a server nobody can come back to this room.
            Departure::Lost | Departure::Left if self.server_lost => {
                self.end(if met {
                    EndReason::EveryoneLeft
                } else {
                    EndReason::ServerLost
                });
            }
            // Whoever lost power or network may type the same code again.
            Departure::Lost | Departure::Left => {}
        }
    }

    /// The W3C states of the connection to `id` have changed. `true` when somebody who had vanished is
    /// back by that.
    pub fn connection_changed(
        &mut self,
        id: ParticipantId,
        states: &ConnectionStates,
        now: Instant,
    ) -> bool {
        let Some(member) = self.members.iter_mut().find(|member| member.id == id) else {
            return false;
        };
        let vanished = member.has_vanished();
        match (states.connection.as_str(), member.link) {
            ("connected", _) => {
                member.link = Link::Connected;
                self.connected_since.get_or_insert(now);
            }
            ("disconnected" | "failed" | "closed", Link::Connected) => {
                member.link = Link::Interrupted { since: now };
            }
            _ => {}
        }
        vanished && !member.has_vanished()
    }

    /// The connection to the server broke and is being made again. `gone` when it does not run any
    /// more, as far as can be seen from here.
    pub fn server_away(&mut self, gone: bool) {
        self.server_lost = gone;
    }

    /// The connection to the server stands again.
    pub fn server_back(&mut self) {
        self.server_lost = false;
    }

    /// We have another seat in the same room, and the connections of the old one are over.
    pub fn rejoined(&mut self) {
        self.server_lost = false;
        self.members.clear();
    }

    /// The connection to the server is gone for good. Connected participants stay.
    pub fn server_lost(&mut self) {
        self.server_lost = true;
        let connected = self
            .members
            .iter()
            .any(|member| matches!(member.link, Link::Connected | Link::Interrupted { .. }));
        if self.in_call() && !connected {
            self.end(EndReason::ServerLost);
        }
    }

    /// Participants whose time is up at `now`. The caller drops their connections and reports
    /// each through [`Self::participant_left`].
    pub fn overdue(&self, now: Instant) -> Vec<ParticipantId> {
        self.members
            .iter()
            .filter(|member| match member.link {
                Link::Connecting { since } => is_up(since, CONNECT_TIMEOUT, now),
                Link::Interrupted { since } | Link::Vanished { since } => {
                    is_up(since, RECONNECT_TIMEOUT, now)
                }
                Link::Connected => false,
            })
            .map(|member| member.id)
            .collect()
    }

    /// The call is over, or could not begin.
    pub fn end(&mut self, reason: EndReason) {
        if self.in_call() {
            self.phase = Phase::Ended(reason);
            self.members.clear();
        }
    }

    /// Whether a call is on or being set up.
    pub fn in_call(&self) -> bool {
        matches!(self.phase, Phase::Joining | Phase::InRoom)
    }

    /// Whether `id` is in the room.
    pub fn has(&self, id: ParticipantId) -> bool {
        self.members.iter().any(|member| member.id == id)
    }

    /// Since when media has been flowing in this call.
    pub const fn connected_since(&self) -> Option<Instant> {
        self.connected_since
    }

    /// Where the call stands.
    pub fn state(&self) -> CallState {
        match self.phase {
            Phase::Idle => CallState::Idle,
            Phase::Joining => CallState::Joining,
            Phase::Ended(reason) => CallState::Ended { reason },
            Phase::InRoom => self.state_in_room(),
        }
    }

    fn state_in_room(&self) -> CallState {
        let any = |wanted: fn(&Link) -> bool| self.members.iter().any(|m| wanted(&m.link));
        if any(|link| matches!(link, Link::Connected)) {
            CallState::Connected
        } else if any(|link| matches!(link, Link::Interrupted { .. })) {
            CallState::Reconnecting
        } else if !self.anybody_there() {
            CallState::Waiting
        } else {
            CallState::Connecting
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn states(connection: &str) -> ConnectionStates {
        ConnectionStates {
            connection: connection.to_owned(),
            ..ConnectionStates::default()
        }
    }

    fn in_room(others: &[ParticipantId], now: Instant) -> Session {
        let mut session = Session::new();
        session.begin();
        session.joined(others, now);
        session
    }

    #[test]
    fn a_call_goes_through_its_states() {
        let now = Instant::now();
        let mut session = Session::new();
        assert_eq!(session.state(), CallState::Idle);
        session.begin();
        assert_eq!(session.state(), CallState::Joining);
        session.joined(&[], now);
        assert_eq!(session.state(), CallState::Waiting);
        assert!(session.participant_joined(2, now));
        assert_eq!(session.state(), CallState::Connecting);
        session.connection_changed(2, &states("connected"), now);
        assert_eq!(session.state(), CallState::Connected);
        session.connection_changed(2, &states("disconnected"), now);
        assert_eq!(session.state(), CallState::Reconnecting);
        session.connection_changed(2, &states("connected"), now);
        assert!(session.participant_left(2, Departure::Left));
        let ended = CallState::Ended {
            reason: EndReason::EveryoneLeft,
        };
        assert_eq!(session.state(), ended);
        session.begin();
        assert_eq!(session.state(), CallState::Joining);
        assert_eq!(session.connected_since(), None);
    }

    #[test]
    fn who_vanished_may_come_back_under_the_same_code() {
        let now = Instant::now();
        let mut session = in_room(&[1], now);
        session.connection_changed(1, &states("connected"), now);
        session.participant_left(1, Departure::Lost);
        assert_eq!(session.state(), CallState::Waiting);
    }

    #[test]
    fn a_dead_server_leaves_a_connected_call_alone_and_ends_an_empty_one() {
        let now = Instant::now();
        let mut waiting = in_room(&[], now);
        waiting.server_lost();
        let lost = CallState::Ended {
            reason: EndReason::ServerLost,
        };
        assert_eq!(waiting.state(), lost);

        let mut connected = in_room(&[1], now);
        connected.connection_changed(1, &states("connected"), now);
        connected.server_lost();
        assert_eq!(connected.state(), CallState::Connected);
        connected.connection_changed(1, &states("disconnected"), now);
        assert!(connected.vanishing(now).is_empty());
        assert_eq!(connected.vanishing(now + PRESUMED_GONE), vec![1]);
        connected.vanish(1);
        let ended = CallState::Ended {
            reason: EndReason::EveryoneLeft,
        };
        assert_eq!(connected.state(), ended);
    }

    #[test]
    fn a_server_that_comes_back_leaves_everything_as_it_was() {
        let now = Instant::now();
        let mut session = in_room(&[1], now);
        session.server_away(true);
        assert_eq!(session.state(), CallState::Connecting);
        session.connection_changed(1, &states("connected"), now);
        session.connection_changed(1, &states("disconnected"), now);
        assert_eq!(session.vanishing(now + PRESUMED_GONE), vec![1]);
        session.server_back();
        assert!(session.vanishing(now + RECONNECT_TIMEOUT).is_empty());
        assert_eq!(session.overdue(now + RECONNECT_TIMEOUT), vec![1]);
    }

    #[test]
    fn a_dead_program_is_given_up_soon_and_a_dead_network_is_not() {
        let now = Instant::now();
        let mut session = in_room(&[1], now);
        session.connection_changed(1, &states("connected"), now);
        session.participant_away(1, false);
        session.connection_changed(1, &states("disconnected"), now);
        assert!(session.vanishing(now + PRESUMED_GONE).is_empty());
        session.participant_away(1, true);
        assert_eq!(session.vanishing(now + PRESUMED_GONE), vec![1]);
        session.participant_back(1);
        assert!(session.vanishing(now + PRESUMED_GONE).is_empty());
    }

    fn vanished(others: &[ParticipantId], now: Instant) -> Session {
        let mut session = in_room(others, now);
        for &id in others {
            session.connection_changed(id, &states("connected"), now);
        }
        session.participant_away(1, true);
        session.connection_changed(1, &states("disconnected"), now);
        session.vanish(1);
        session
    }

    #[test]
    fn who_vanished_is_there_again_once_heard() {
        let now = Instant::now();
        let mut session = vanished(&[1], now);
        assert_eq!(session.state(), CallState::Waiting);
        assert!(session.has_vanished(1));
        assert!(session.vanishing(now + RECONNECT_TIMEOUT).is_empty());
        assert!(!session.connection_changed(1, &states("failed"), now));
        session.participant_back(1);
        assert_eq!(session.state(), CallState::Waiting);
        assert!(session.connection_changed(1, &states("connected"), now));
        assert_eq!(session.state(), CallState::Connected);
        assert!(!session.connection_changed(1, &states("connected"), now));
    }

    #[test]
    fn who_vanished_is_waited_for_like_anybody() {
        let now = Instant::now();
        let mut session = vanished(&[1, 2], now);
        assert_eq!(session.state(), CallState::Connected);
        assert_eq!(session.overdue(now + RECONNECT_TIMEOUT), vec![1]);
        session.participant_left(1, Departure::Lost);
        assert!(!session.has(1));
    }

    #[test]
    fn who_vanished_and_then_hung_up_has_left() {
        let now = Instant::now();
        let mut lost = vanished(&[1], now);
        lost.server_away(true);
        lost.participant_left(1, Departure::Lost);
        assert_eq!(lost.state(), CallState::Waiting);

        let mut left = vanished(&[1], now);
        left.participant_left(1, Departure::Left);
        let ended = CallState::Ended {
            reason: EndReason::EveryoneLeft,
        };
        assert_eq!(left.state(), ended);
    }

    #[test]
    fn without_a_server_nobody_who_vanished_is_waited_for() {
        let now = Instant::now();
        let mut session = vanished(&[1], now);
        session.server_lost();
        let lost = CallState::Ended {
            reason: EndReason::ServerLost,
        };
        assert_eq!(session.state(), lost);
    }

    #[test]
    fn who_is_heard_stays_without_a_seat() {
        let now = Instant::now();
        let mut session = in_room(&[1, 2], now);
        session.connection_changed(1, &states("connected"), now);
        assert!(session.stays_without_seat(1));
        assert!(!session.stays_without_seat(2));
        session.connection_changed(1, &states("failed"), now);
        assert_eq!(session.vanishing(now + PRESUMED_GONE), vec![1]);
    }

    #[test]
    fn another_seat_begins_with_nobody() {
        let now = Instant::now();
        let mut session = in_room(&[1], now);
        session.connection_changed(1, &states("connected"), now);
        session.rejoined();
        assert_eq!(session.state(), CallState::Waiting);
        assert!(session.participant_joined(1, now));
    }

    #[test]
    fn a_connection_that_never_stands_is_overdue() {
        let now = Instant::now();
        let session = in_room(&[1], now);
        assert!(session.overdue(now + CONNECT_TIMEOUT / 2).is_empty());
        assert_eq!(session.overdue(now + CONNECT_TIMEOUT), vec![1]);
    }

    #[test]
    fn a_server_cannot_make_up_people_without_end() {
        let now = Instant::now();
        let mut session = in_room(&[], now);
        let taken = (2..10_000).filter(|id| session.participant_joined(*id, now));
        assert_eq!(taken.count(), MAX_OTHERS);
    }

    #[test]
    fn one_of_three_leaving_changes_nothing_for_the_others() {
        let now = Instant::now();
        let mut session = in_room(&[1, 2], now);
        session.connection_changed(1, &states("connected"), now);
        session.connection_changed(2, &states("connected"), now);
        session.participant_left(1, Departure::Left);
        assert_eq!(session.state(), CallState::Connected);
        assert!(!session.participant_left(1, Departure::Left));
    }

    proptest! {
        /// Whatever happens in whatever order: no panic, nobody listed twice, and an ended call
        /// stays ended until the next one begins.
        #[test]
        fn any_order_of_events_keeps_the_session_sound(
            events in proptest::collection::vec((0_u8..12, 1_u32..5, 0_u64..90), 0..80),
        ) {
            let mut now = Instant::now();
            let mut session = in_room(&[], now);
            for (event, id, seconds) in events {
                now += Duration::from_secs(seconds);
                let ended = matches!(session.state(), CallState::Ended { .. });
                match event {
                    0 => { session.participant_joined(id, now); }
                    1 => { session.participant_left(id, Departure::Left); }
                    2 => { session.participant_left(id, Departure::Lost); }
                    3 => { session.connection_changed(id, &states("connected"), now); }
                    4 => { session.connection_changed(id, &states("failed"), now); }
                    5 => session.server_lost(),
                    6 => session.server_away(id > 2),
                    7 => session.server_back(),
                    8 => session.participant_away(id, seconds > 40),
                    9 => session.rejoined(),
                    10 => for id in session.vanishing(now) {
                        session.vanish(id);
                        prop_assert!(ended || session.has_vanished(id) || !session.in_call());
                    },
                    _ => for id in session.overdue(now) {
                        prop_assert!(session.participant_left(id, Departure::Lost));
                    },
                }
                if ended {
                    let still_ended = matches!(session.state(), CallState::Ended { .. });
                    prop_assert!(still_ended);
                }
                let mut ids: Vec<_> = session.members.iter().map(|m| m.id).collect();
                ids.dedup();
                prop_assert_eq!(ids.len(), session.members.len());
            }
        }
    }
}
