//! What the server reports: our seat, and who comes and goes.

use std::time::Instant;

use ahoy_signaling::client::Seat;
use rand::SeedableRng;
use rand::rand_core::UnwrapErr;
use rand::rngs::{StdRng, SysRng};

use super::link::{Joined, LinkOutput};
use super::state::{EngineTask, Room};
use crate::session::Departure;
use crate::transport::{Certificate, LocalAddresses};
use crate::verification::Verification;
use crate::view::{EndReason, ParticipantId, SignalingLinkState};

impl EngineTask {
    pub(super) async fn link_output(&mut self, output: LinkOutput) {
        match output {
            LinkOutput::Joined(joined) => self.joined(joined).await,
            LinkOutput::ParticipantJoined(id) => self.participant_joined(id).await,
            LinkOutput::ParticipantLeft(id, departure) => {
                // The server gave the seat up; whom we still hear is still there.
                if departure == Departure::Left || !self.session.stays_without_seat(id) {
                    self.participant_left(id, departure);
                    self.left_the_room(id).await;
                }
            }
            LinkOutput::ParticipantAway { id, crashed } => {
                self.session.participant_away(id, crashed);
            }
            LinkOutput::IceServers(servers, lifetime) => {
                self.ice_servers
                    .hand_out(&servers, lifetime, Instant::now());
                self.tell_ice_servers();
            }
            LinkOutput::ParticipantBack(id) => self.session.participant_back(id),
            LinkOutput::Signal(from, bytes) => self.signal(from, &bytes).await,
            LinkOutput::Failed(reason) => self.end_call(reason),
            LinkOutput::Reconnecting { gone } => {
                self.signaling = SignalingLinkState::Lost;
                self.session.server_away(gone);
                // A window that ran the server for us is closed: nobody can come any more.
                if gone && self.server_on_this_computer() {
                    self.session.server_lost();
                }
            }
            LinkOutput::Resumed => {
                self.signaling = SignalingLinkState::Joined;
                self.session.server_back();
            }
            LinkOutput::Rejoined(seat) => self.rejoined(&seat).await,
            LinkOutput::Lost => {
                self.signaling = SignalingLinkState::Lost;
                self.session.server_lost();
            }
        }
    }

    /// Connections that there are take the renewed credentials when they restart ICE.
    pub(super) fn tell_ice_servers(&self) {
        for participant in self.participants.values() {
            participant.set_ice_servers(self.ice_servers.all());
        }
    }

    async fn joined(&mut self, joined: Joined) {
        let Some(link) = &mut self.link else {
            return;
        };
        link.joined(joined.sender);
        self.seats += 1;
        self.signaling = SignalingLinkState::Joined;
        self.own_id = Some(joined.seat.participant);
        let lifetime = joined.seat.ice_servers_lifetime;
        self.ice_servers
            .hand_out(&joined.seat.ice_servers, lifetime, Instant::now());
        if joined.on_this_computer {
            self.transport.local_addresses = LocalAddresses::NetworkAndLoopback;
        } else {
            self.transport.local_addresses = LocalAddresses::Network;
        }
        match Certificate::generate() {
            Ok(certificate) => self.transport.certificate = Some(certificate),
            Err(error) => {
                tracing::warn!(%error, "no certificate");
                return self.session.end(EndReason::ConnectionFailed);
            }
        }
        self.room = Some(Room {
            number: joined.seat.room,
            server: joined.invite_server,
            reach: joined.reach,
            instead_of: joined.instead_of,
        });
        self.begin_verification();
        self.show_invite();
        self.session.joined(&[], Instant::now());
        for id in joined.seat.others() {
            self.participant_joined(id).await;
        }
    }

    fn server_on_this_computer(&self) -> bool {
        self.transport.local_addresses == LocalAddresses::NetworkAndLoopback
    }

    /// Our seat was given up while we could not be reached, and we have another: everything begins
    /// anew, in the same room. The old connections go without a goodbye: whoever still has one is not
    /// to think that we hung up.
    async fn rejoined(&mut self, seat: &Seat) {
        self.seats += 1;
        self.signaling = SignalingLinkState::Joined;
        self.own_id = Some(seat.participant);
        self.ice_servers
            .hand_out(&seat.ice_servers, seat.ice_servers_lifetime, Instant::now());
        self.participants.clear();
        self.session.rejoined();
        self.begin_verification();
        for id in seat.others() {
            self.participant_joined(id).await;
        }
    }

    /// Nobody is verified yet; words that are retired stay so.
    fn begin_verification(&mut self) {
        let retired = self.retired();
        let certificate = self.transport.certificate.as_ref();
        self.verification = match (self.code, self.own_id, &self.room, certificate) {
            (Some(code), Some(own), Some(room), Some(certificate)) => Some(Verification::new(
                room.number.get(),
                own,
                certificate.fingerprint(),
                code.secrets(),
                StdRng::from_rng(&mut UnwrapErr(SysRng)),
            )),
            _ => None,
        };
        if let Some(verification) = self.verification.as_mut().filter(|_| retired) {
            verification.retire();
        }
    }

    /// Somebody is in the room; in the call they are when they are verified.
    async fn participant_joined(&mut self, id: ParticipantId) {
        let now = Instant::now();
        if self.session.participant_joined(id, now)
            && let Some(verification) = &mut self.verification
        {
            let outputs = verification.participant_joined(id, now);
            self.verify(outputs).await;
        }
    }

    /// Somebody is out of the room: the next one's turn to be verified.
    async fn left_the_room(&mut self, id: ParticipantId) {
        if let Some(verification) = &mut self.verification {
            let outputs = verification.participant_left(id, Instant::now());
            self.verify(outputs).await;
        }
    }
}
