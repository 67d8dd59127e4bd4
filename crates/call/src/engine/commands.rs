//! What the user wants.

use std::sync::Arc;

use ahoy_media::frame::EncodedVideoSink;

use super::state::EngineTask;
use super::{Command, VideoTile};
use crate::fan_out::Subscription;
use crate::view::EndReason;

impl EngineTask {
    pub(super) async fn command(&mut self, command: Command) {
        match command {
            Command::NewCall { share_on_network } => self.new_call(share_on_network),
            Command::Join(invite) => self.join(invite),
            Command::Reopen {
                invite,
                share_on_network,
            } => self.reopen(invite, share_on_network),
            Command::RenewCode => self.renew_code(),
            Command::HangUp => self.end_call(EndReason::HungUp),
            Command::SetName(name) => self.change_status(|local| local.set_name(&name)),
            Command::SetServer(server) => self.server = server,
            Command::SetIceServers {
                servers,
                relay_only,
            } => {
                self.ice_servers.set_own(servers);
                self.transport.relay_only = relay_only;
                self.tell_ice_servers();
            }
            Command::SetMicrophoneMuted(muted) => {
                self.change_status(|local| local.set_muted(muted));
            }
            Command::SetCameraOn(on) => self.change_status(|local| local.set_camera_on(on)),
            Command::SelectCamera(camera) => self.local.select_camera(camera),
            Command::SelectMicrophone(microphone) => self.local.select_microphone(microphone),
            Command::SelectSpeaker(speaker) => self.local.select_speaker(speaker),
            Command::SetVideoConstraints(wanted) => self.local.set_constraints(wanted),
            Command::SetProcessing(settings) => self.local.set_processing(settings),
            Command::SubscribeVideo(tile, sink, answer) => {
                let _ = answer.send(self.subscribe(tile, sink));
            }
            Command::RequestKeyFrame(tile) => self.request_key_frame(tile),
            Command::Levels(answer) => {
                let _ = answer.send(self.levels());
            }
            Command::Stats(answer) => {
                let _ = answer.send(self.stats().await);
            }
            Command::PlayTestSound => self.local.playout.play_test_sound(),
            Command::Close(done) => {
                let _ = done.send(());
            }
        }
    }

    fn subscribe(&self, tile: VideoTile, sink: Arc<dyn EncodedVideoSink>) -> Option<Subscription> {
        let subscription = match tile {
            VideoTile::Local => {
                let subscription = self.local.preview_out.subscribe(sink);
                self.local.video.request_preview_key_frame();
                subscription
            }
            VideoTile::Participant(id) => {
                let participant = self.participants.get(&id)?;
                let subscription = participant.video_out().subscribe(sink);
                participant.request_key_frame();
                subscription
            }
        };
        Some(subscription)
    }

    fn request_key_frame(&self, tile: VideoTile) {
        match tile {
            VideoTile::Local => self.local.video.request_preview_key_frame(),
            VideoTile::Participant(id) => {
                if let Some(participant) = self.participants.get(&id) {
                    participant.request_key_frame();
                }
            }
        }
    }
}
