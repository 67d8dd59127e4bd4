//! A call begins and ends.

use ahoy_signaling::address::ServerAddress;
use ahoy_signaling::invite::Invite;

use super::link::{Link, LinkRequest, Servers};
use super::state::{EngineTask, Input};
use crate::shared_code::SharedCode;
use crate::view::{EndReason, SignalingLinkState};

impl EngineTask {
    pub(super) fn new_call(&mut self, share_on_network: bool) {
        self.begin_call();
        self.code = Some(SharedCode::first());
        self.open_link(LinkRequest::Create { share_on_network }, None);
    }

    pub(super) fn join(&mut self, invite: Invite) {
        self.begin_call();
        self.code = Some(SharedCode::invited(invite.code.words, invite.secret));
        let number = invite.code.number;
        self.open_link(LinkRequest::Join { number }, invite.server);
    }

    pub(super) fn reopen(&mut self, invite: Invite, share_on_network: bool) {
        self.begin_call();
        self.code = Some(SharedCode::invited(invite.code.words, invite.secret));
        let request = LinkRequest::Reopen {
            number: invite.code.number,
            share_on_network,
        };
        self.open_link(request, invite.server);
    }

    fn begin_call(&mut self) {
        self.end_call(EndReason::HungUp);
        self.call += 1;
        self.session.begin();
    }

    fn open_link(&mut self, request: LinkRequest, invited_to: Option<ServerAddress>) {
        self.signaling = SignalingLinkState::Connecting;
        let servers = Servers {
            first: invited_to.or_else(|| self.server.clone()),
            own: self.server.clone(),
        };
        let (inputs, call) = (self.inputs.clone(), self.call);
        self.link = Some(Link::open(
            request,
            servers,
            &self.embedded,
            self.goodbyes.former_server(),
            move |output| {
                let inputs = inputs.clone();
                async move {
                    // The task outlives its links; without it nobody needs to know.
                    let _ = inputs.send(Input::Link(call, output)).await;
                }
            },
        ));
    }

    /// Leaves the room and drops every connection. What was known stays visible until the next
    /// call begins.
    pub(super) fn end_call(&mut self, reason: EndReason) {
        self.session.end(reason);
        self.release_call();
    }

    /// Drops what an ended call still holds. The goodbyes go on without the user waiting for them.
    pub(super) fn release_call(&mut self) {
        for (_, participant) in std::mem::take(&mut self.participants) {
            self.goodbyes.participant(participant.hang_up());
        }
        if let Some(link) = self.link.take() {
            self.goodbyes.server(link.leave());
            // What it still reports is of no call any more.
            self.call += 1;
        }
        self.signaling = SignalingLinkState::Disconnected;
        self.ice_servers.forget_handed_out();
        self.own_id = None;
        self.invite = None;
        self.code = None;
        self.room = None;
        self.verification = None;
    }
}
