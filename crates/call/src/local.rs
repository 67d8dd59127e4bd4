//! Our own side: camera, microphone and speaker with what is chosen for them, whether or not
//! there is a call. One encoder for picture and one for sound serve everybody else.

use std::sync::Arc;
use std::time::Instant;

use ahoy_audio::playout::Playout;
use ahoy_audio::processing::ProcessingSettings;
use ahoy_audio::processing::health::MicrophoneWatch;
use ahoy_audio::redundancy::LossReport;
use ahoy_audio::send::AudioSend;
use ahoy_media::device::{DeviceKind, DeviceProblem, MediaEvent, MediaEvents};
use ahoy_media::frame::{DecodeCounts, EncodedAudioSink, EncodedVideoSink};
use ahoy_media::selection::{CameraSelection, MicrophoneSelection, SpeakerSelection};
use ahoy_media::units::VideoConstraints;
use ahoy_video::send::{PREVIEW_RESOLUTION, VideoSend};

use crate::adaptation::{Adaptation, Decision, Situation};
use crate::fan_out::FanOut;
use crate::sound_protection::SoundProtection;
use crate::status::{PeerMessage, STATUS_VERSION, clean_name};
use crate::transport::PathEstimate;
use crate::view::{DeviceView, LocalView};

/// Takers of our compressed pictures.
pub type VideoFanOut = FanOut<dyn EncodedVideoSink>;
/// Takers of our compressed sound.
pub type AudioFanOut = FanOut<dyn EncodedAudioSink>;

/// The media threads of this computer and the choices of its user.
pub struct LocalMedia {
    /// Camera to encoder.
    pub video: Arc<VideoSend>,
    /// Microphone to encoder.
    pub audio: AudioSend,
    /// Received sound to speaker.
    pub playout: Playout,
    /// Who takes our pictures.
    pub video_out: Arc<VideoFanOut>,
    /// Who takes those of the self-view.
    pub preview_out: Arc<VideoFanOut>,
    /// Who takes our sound.
    pub audio_out: Arc<AudioFanOut>,
    camera: CameraSelection,
    microphone_unplugged: bool,
    microphone_watch: MicrophoneWatch,
    adaptation: Adaptation,
    protection: SoundProtection,
    view: LocalView,
}

impl LocalMedia {
    /// Starts the threads; every device is still closed. `events` hears of devices.
    pub fn start(events: &MediaEvents) -> Self {
        let video_out = Arc::new(VideoFanOut::default());
        let preview_out = Arc::new(VideoFanOut::default());
        let audio_out = Arc::new(AudioFanOut::default());
        let audio = AudioSend::start(Arc::clone(&audio_out) as _, Arc::clone(events));
        let playout = Playout::start(Arc::clone(events));
        playout.set_render_reference(Some(audio.render_reference()));
        Self {
            video: Arc::new(VideoSend::start(
                Arc::clone(&video_out) as _,
                Arc::clone(&preview_out) as _,
                Arc::clone(events),
            )),
            audio,
            playout,
            video_out,
            preview_out,
            audio_out,
            camera: CameraSelection::None,
            microphone_unplugged: false,
            microphone_watch: MicrophoneWatch::default(),
            adaptation: Adaptation::default(),
            protection: SoundProtection::default(),
            view: LocalView {
                camera_on: true,
                ..LocalView::default()
            },
        }
    }

    /// What is chosen and what runs.
    pub const fn view(&self) -> &LocalView {
        &self.view
    }

    /// The name others see.
    pub fn set_name(&mut self, name: &str) {
        self.view.name = clean_name(name);
    }

    /// Silence in the place of the microphone.
    pub fn set_muted(&mut self, muted: bool) {
        self.view.microphone_muted = muted;
        self.audio.set_muted(muted);
    }

    /// Camera on, or off and released.
    pub fn set_camera_on(&mut self, on: bool) {
        self.view.camera_on = on;
        self.apply_camera();
    }

    /// Another camera.
    pub fn select_camera(&mut self, camera: CameraSelection) {
        self.camera = camera;
        self.view.camera = chosen(&self.camera);
        self.apply_camera();
    }

    /// Another size or rate.
    pub fn set_constraints(&mut self, constraints: VideoConstraints) {
        self.view.constraints = constraints;
        self.apply_camera();
    }

    /// Another microphone.
    pub fn select_microphone(&mut self, microphone: MicrophoneSelection) {
        self.view.microphone = chosen(&microphone);
        self.microphone_unplugged = false;
        self.microphone_watch.clear();
        self.audio.set_microphone(microphone);
    }

    /// Another speaker.
    pub fn select_speaker(&mut self, speaker: SpeakerSelection) {
        self.view.speaker = chosen(&speaker);
        self.playout.set_speaker(speaker);
    }

    /// What is done with the sound of the microphone.
    pub fn set_processing(&mut self, settings: ProcessingSettings) {
        self.view.processing = settings;
        self.audio.set_processing(settings);
    }

    /// Looks after the microphone; to be called some times per second.
    pub fn watch_microphone(&mut self, now: Instant) {
        // A file or a tone is as it is.
        let is_device = matches!(self.view.microphone.selection.as_str(), "default")
            || self.view.microphone.selection.starts_with("device:");
        if is_device && self.view.microphone.label.is_some() {
            let muted = self.view.microphone_muted;
            let figures = self.audio.health().get();
            self.microphone_watch.update(figures, muted, now);
        } else {
            self.microphone_watch.clear();
        }
        self.view.microphone_hint = self.microphone_watch.hint();
    }

    /// Lets the encoders follow what the paths carry and lose, and what the computer can do; to be
    /// called some tens of times per second. `received` is how the decoding of others' pictures keeps
    /// up.
    pub fn adapt(
        &mut self,
        now: Instant,
        paths: &[PathEstimate],
        losses: impl Iterator<Item = LossReport>,
        received: DecodeCounts,
    ) -> Decision {
        let sound = self.audio.stats();
        self.protection
            .encoded(now, sound.packets_sent, sound.bytes_sent);
        if let Some(settings) = self.protection.update(losses, now) {
            tracing::debug!(?settings, "the sound is protected anew");
            self.audio.set_encoding(settings);
        }
        let situation = Situation {
            wanted: self.view.constraints,
            sound: self.protection.bitrate(),
            paths,
            encoder: self.video.stats(),
            decoders: received + self.preview_out.decoding(),
        };
        let decision = self.adaptation.update(now, &situation);
        self.video.set_encoding(decision.encoding);
        self.video.set_preview_resolution(if paths.is_empty() {
            self.view.constraints.resolution
        } else {
            PREVIEW_RESOLUTION
        });
        decision
    }

    fn apply_camera(&self) {
        let camera = if self.view.camera_on {
            self.camera.clone()
        } else {
            CameraSelection::None
        };
        self.video.set_camera(camera, self.view.constraints);
    }

    /// Notes what the media threads report.
    pub fn media_event(&mut self, event: &MediaEvent) {
        match event {
            MediaEvent::Started {
                kind,
                label,
                format,
            } => {
                let device = self.device(*kind);
                device.label = Some(label.clone());
                device.format.clone_from(format);
                device.problem = None;
                device.problem_detail.clear();
                device.instead_of = None;
            }
            MediaEvent::Stopped { kind } => {
                let device = self.device(*kind);
                device.label = None;
                device.format.clear();
                device.problem = None;
                device.problem_detail.clear();
                device.instead_of = None;
            }
            MediaEvent::Failed { kind, error } => {
                if *kind == DeviceKind::Microphone {
                    self.microphone_unplugged = error.problem == DeviceProblem::Lost;
                }
                let device = self.device(*kind);
                device.label = None;
                device.format.clear();
                device.problem = Some(error.problem);
                device.problem_detail.clone_from(&error.detail);
            }
            MediaEvent::Replaced {
                kind,
                lost_label,
                problem,
                ..
            } => {
                if *kind == DeviceKind::Microphone {
                    self.microphone_unplugged = *problem == DeviceProblem::Lost;
                }
                self.device(*kind).instead_of = Some(lost_label.clone());
            }
            MediaEvent::Returned { kind, .. } => {
                if *kind == DeviceKind::Microphone {
                    self.microphone_unplugged = false;
                }
                self.device(*kind).instead_of = None;
            }
            MediaEvent::DevicesChanged { .. } => {}
        }
    }

    const fn device(&mut self, kind: DeviceKind) -> &mut DeviceView {
        match kind {
            DeviceKind::Camera => &mut self.view.camera,
            DeviceKind::Microphone => &mut self.view.microphone,
            DeviceKind::Speaker => &mut self.view.speaker,
        }
    }

    /// Whether there is a camera, and it is on.
    pub fn sends_picture(&self) -> bool {
        self.view.camera_on && self.view.camera.label.is_some()
    }

    /// What the others are told about us.
    pub fn status(&self) -> PeerMessage {
        PeerMessage::Status {
            version: STATUS_VERSION,
            name: self.view.name.clone(),
            microphone_muted: self.view.microphone_muted || self.view.microphone.label.is_none(),
            camera_on: self.sends_picture(),
            microphone_unplugged: self.microphone_unplugged,
        }
    }
}

fn chosen(selection: &impl ToString) -> DeviceView {
    DeviceView {
        selection: selection.to_string(),
        ..DeviceView::default()
    }
}
