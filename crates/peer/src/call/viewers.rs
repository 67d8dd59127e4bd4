//! Which participants' pictures are decoded: everybody's for the statistics, the first one's for
//! a recording, nobody's otherwise.

use std::collections::BTreeMap;
use std::time::Instant;

use ahoy_call::engine::{Engine, VideoTile};
use ahoy_call::fan_out::Subscription;
use ahoy_call::view::{CallView, ParticipantId};
use tokio::sync::mpsc;

use crate::recorder::RecorderInput;
use crate::report::Samples;
use crate::viewer::Viewer;

/// Requests for key frames that wait for the call's task. Each decoder asks twice a second at
/// most; what does not fit is asked for again.
pub(super) const KEY_FRAME_REQUESTS: usize = 32;

/// The decoders of a call.
pub(super) struct Viewers {
    everybody: bool,
    recorder: Option<RecorderInput>,
    /// Whose picture is recorded.
    recorded: Option<ParticipantId>,
    viewers: BTreeMap<ParticipantId, Watched>,
    key_frames: mpsc::Sender<ParticipantId>,
    first_picture: Option<Instant>,
}

struct Watched {
    viewer: Viewer,
    camera_on: bool,
    _subscription: Subscription,
}

impl Viewers {
    /// `key_frames` gets the participants whose decoder needs one.
    pub(super) fn new(
        everybody: bool,
        recorder: Option<RecorderInput>,
        key_frames: mpsc::Sender<ParticipantId>,
    ) -> Self {
        Self {
            everybody,
            recorder,
            recorded: None,
            viewers: BTreeMap::new(),
            key_frames,
            first_picture: None,
        }
    }

    /// Follows who is there. The figures of those who have left go into `samples`.
    pub(super) async fn follow(&mut self, engine: &Engine, view: &CallView, samples: &mut Samples) {
        let there = |id: ParticipantId| view.participants.iter().find(|it| it.id == id);
        let gone: Vec<_> = self
            .viewers
            .keys()
            .copied()
            .filter(|id| there(*id).is_none())
            .collect();
        for id in gone {
            self.drop_viewer(id, samples);
        }
        for (id, watched) in &mut self.viewers {
            let Some(participant) = there(*id) else {
                continue;
            };
            if watched.camera_on != participant.camera_on {
                watched.camera_on = participant.camera_on;
                watched.viewer.paused();
            }
        }
        for participant in &view.participants {
            if self.wants(participant.id) && !self.viewers.contains_key(&participant.id) {
                self.watch(engine, participant.id, participant.camera_on)
                    .await;
            }
        }
    }

    /// Completes the samples of those who are there.
    pub(super) fn complete(&self, samples: &mut Samples) {
        for (id, watched) in &self.viewers {
            if let Some(stats) = samples.of(*id) {
                watched.viewer.complete(&mut stats.inbound_video);
            }
        }
    }

    /// When the first picture of anybody was presented.
    pub(super) fn first_picture(&self) -> Option<Instant> {
        let running = self
            .viewers
            .values()
            .filter_map(|it| it.viewer.first_picture());
        running.chain(self.first_picture).min()
    }

    /// Ends all decoding; the figures go into `samples`.
    pub(super) fn finish(&mut self, samples: &mut Samples) {
        let ids: Vec<_> = self.viewers.keys().copied().collect();
        for id in ids {
            self.drop_viewer(id, samples);
        }
        self.recorder = None;
    }

    fn wants(&self, id: ParticipantId) -> bool {
        let to_record =
            self.recorder.is_some() && self.recorded.is_none_or(|recorded| recorded == id);
        self.everybody || to_record
    }

    async fn watch(&mut self, engine: &Engine, id: ParticipantId, camera_on: bool) {
        let recorder = self
            .recorder
            .clone()
            .filter(|_| self.recorded.is_none_or(|it| it == id));
        let records = recorder.is_some();
        let key_frames = self.key_frames.clone();
        let viewer = Viewer::start(
            move |frame, _| {
                if let Some(recorder) = &recorder {
                    recorder.put(&frame.picture);
                }
            },
            move || {
                let _ = key_frames.try_send(id);
            },
        );
        let tile = VideoTile::Participant(id);
        // `None`: they have left meanwhile, which the next view tells.
        if let Ok(Some(subscription)) = engine.subscribe_video(tile, viewer.sink()).await {
            if records {
                self.recorded = Some(id);
            }
            self.viewers.insert(
                id,
                Watched {
                    viewer,
                    camera_on,
                    _subscription: subscription,
                },
            );
        }
    }

    fn drop_viewer(&mut self, id: ParticipantId, samples: &mut Samples) {
        let Some(watched) = self.viewers.remove(&id) else {
            return;
        };
        if let Some(stats) = samples.of(id) {
            // What the transport knew then; what was dropped is counted anew.
            stats.inbound_video.frames_dropped = None;
            watched.viewer.complete(&mut stats.inbound_video);
        }
        self.first_picture = self
            .first_picture
            .into_iter()
            .chain(watched.viewer.first_picture())
            .min();
        if self.recorded == Some(id) {
            self.recorded = None;
        }
    }
}
