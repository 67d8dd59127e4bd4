//! The video threads joined: source, encoder, packets, jitter buffer, decoder.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ahoy_media::device::{DeviceKind, DeviceProblem, MediaEvent, MediaEvents};
use ahoy_media::frame::{EncodedFrame, EncodedVideoSink, I420, VideoFrame};
use ahoy_media::rtp::RtpPacket;
use ahoy_media::selection::CameraSelection;
use ahoy_media::units::{Bitrate, Resolution, VideoConstraints};
use ahoy_video::capture;
use ahoy_video::capture::stamp::read_stamp;
use ahoy_video::capture::y4m::Y4mWriter;
use ahoy_video::jitter::{VideoJitterBuffer, VideoOutput};
use ahoy_video::receive::VideoDecodeThread;
use ahoy_video::rtp_vp8::Vp8Packetizer;
use ahoy_video::send::{CaptureObserver, FORCED_KEY_FRAME_INTERVAL, VideoEncoding, VideoSend};
use ahoy_video::vp8::DEFAULT_CPU_USED;

/// Long enough for a starved machine; nothing waits that long when things work.
const PATIENCE: Duration = Duration::from_secs(20);

struct ToChannel(Mutex<Sender<EncodedFrame>>);

impl EncodedVideoSink for ToChannel {
    fn on_encoded_frame(&self, frame: &EncodedFrame) {
        let _ = self.0.lock().expect("not poisoned").send(frame.clone());
    }
}

struct Pipeline {
    send: VideoSend,
    frames: Receiver<EncodedFrame>,
    events: Receiver<MediaEvent>,
}

/// Nobody looks.
struct Nobody;

impl EncodedVideoSink for Nobody {
    fn on_encoded_frame(&self, _frame: &EncodedFrame) {}

    fn wants_frames(&self) -> bool {
        false
    }
}

fn pipeline() -> Pipeline {
    let (frame_sender, frames) = channel();
    let sink = Arc::new(ToChannel(Mutex::new(frame_sender)));
    start(sink, Arc::new(Nobody), frames)
}

/// One whose frames are those of the self-view.
fn self_view(others: Arc<dyn EncodedVideoSink>) -> Pipeline {
    let (frame_sender, frames) = channel();
    let sink = Arc::new(ToChannel(Mutex::new(frame_sender)));
    start(others, sink, frames)
}

fn start(
    sink: Arc<dyn EncodedVideoSink>,
    preview: Arc<dyn EncodedVideoSink>,
    frames: Receiver<EncodedFrame>,
) -> Pipeline {
    let (event_sender, events) = channel();
    let event_sender = Mutex::new(event_sender);
    let events_callback: MediaEvents = Arc::new(move |event| {
        let _ = event_sender.lock().expect("not poisoned").send(event);
    });
    Pipeline {
        send: VideoSend::start(sink, preview, events_callback),
        frames,
        events,
    }
}

impl Pipeline {
    fn frame(&self) -> EncodedFrame {
        self.frames.recv_timeout(PATIENCE).expect("a frame")
    }

    /// The next frame of this size, with those before it thrown away.
    fn frame_of(&self, resolution: &str) -> EncodedFrame {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let frame = self.frame();
            if frame.resolution.to_string() == resolution {
                return frame;
            }
        }
        panic!("no frame of {resolution}");
    }

    fn event(&self) -> MediaEvent {
        self.events.recv_timeout(PATIENCE).expect("an event")
    }

    fn started(&self) -> String {
        match self.event() {
            MediaEvent::Started {
                kind: DeviceKind::Camera,
                format,
                ..
            } => format,
            other => panic!("{other:?} instead of Started"),
        }
    }

    fn stopped(&self) {
        assert_eq!(
            self.event(),
            MediaEvent::Stopped {
                kind: DeviceKind::Camera
            }
        );
    }
}

fn wanted(text: &str) -> VideoConstraints {
    text.parse().expect("valid")
}

/// So many kbit/s, and otherwise what the user wants.
fn encoding(kbps: u64) -> VideoEncoding {
    VideoEncoding {
        constraints: wanted("4096x4096@60"),
        bitrate: Bitrate::from_kbps(kbps),
        cpu_used: DEFAULT_CPU_USED,
    }
}

/// A file of flat pictures, at 60 per second.
fn clip(folder: &Path, size: (u32, u32)) -> CameraSelection {
    let path = folder.join(format!("{}x{}.y4m", size.0, size.1));
    let mut writer = Y4mWriter::create(&path, 60).expect("created");
    for luma in [60, 100, 140, 180] {
        let mut picture = I420::black(Resolution::new(size.0, size.1));
        picture.planes_mut().0.fill(luma);
        writer.write(&picture).expect("written");
    }
    writer.finish().expect("flushed");
    CameraSelection::File(path)
}

#[test]
fn pictures_reach_the_other_side_in_order_by_their_stamps() {
    let (sender, shown) = channel();
    let decoder = VideoDecodeThread::start(
        move |frame: VideoFrame| {
            let _ = sender.send((frame.number, read_stamp(&frame.picture)));
        },
        || {},
    );
    let pipeline = pipeline();
    pipeline
        .send
        .set_camera(CameraSelection::Pattern, wanted("320x180@30"));
    let (mut packetizer, mut jitter) = (Vp8Packetizer::new(77), VideoJitterBuffer::new());
    let mut sequence_number = 65_530_u16;
    for _ in 0..30 {
        let frame = pipeline.frame();
        for (marker, payload) in packetizer.packetize(&frame.data) {
            let now = Instant::now();
            let packet = RtpPacket {
                payload_type: 96,
                ssrc: 1,
                sequence_number,
                timestamp: frame.rtp_timestamp,
                marker,
                payload,
                arrival: now,
            };
            sequence_number = sequence_number.wrapping_add(1);
            jitter.push(packet, now);
            while let Some(output) = jitter.poll(now) {
                match output {
                    VideoOutput::Frame(frame) => decoder.on_encoded_frame(&frame),
                    VideoOutput::NeedKeyFrame => panic!("nothing was lost"),
                }
            }
        }
    }
    let numbers: Vec<u32> = (0..30)
        .map(|_| {
            shown
                .recv_timeout(PATIENCE)
                .expect("a picture")
                .1
                .expect("a stamp")
        })
        .collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    assert_eq!(decoder.stats().frames_decoded, 30);
    assert_eq!(
        (decoder.stats().frame_width, decoder.stats().frames_dropped),
        (320, 0)
    );
    let stats = pipeline.send.stats();
    assert!(stats.frames_encoded >= 30 && stats.bytes_encoded > 0 && stats.qp_sum > 0);
    assert_eq!((stats.frame_width, stats.frame_height), (320, 180));
    assert!(stats.total_encode_time > Duration::ZERO);
}

#[test]
fn camera_size_and_rate_change_while_it_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipeline = pipeline();
    pipeline
        .send
        .set_camera(CameraSelection::Pattern, wanted("320x180@30"));
    assert_eq!(pipeline.started(), "320x180@30");
    assert!(pipeline.frame_of("320x180").key_frame);

    pipeline
        .send
        .set_camera(CameraSelection::Pattern, wanted("640x360@15"));
    pipeline.stopped();
    assert_eq!(pipeline.started(), "640x360@15");
    assert!(
        pipeline.frame_of("640x360").key_frame,
        "a new size begins with a key frame"
    );

    pipeline
        .send
        .set_camera(clip(folder.path(), (640, 480)), wanted("320x240@30"));
    pipeline.stopped();
    assert_eq!(pipeline.started(), "640x480@60");
    assert!(
        pipeline.frame_of("320x240").key_frame,
        "scaled to what is wanted"
    );

    // A file delivers what it delivers: only the scaling changes, the source is kept.
    pipeline
        .send
        .set_camera(clip(folder.path(), (640, 480)), wanted("160x120@30"));
    pipeline.frame_of("160x120");
    pipeline
        .send
        .set_camera(CameraSelection::None, wanted("160x120@30"));
    pipeline.stopped();
}

#[test]
fn a_source_faster_than_wanted_is_thinned_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipeline = pipeline();
    pipeline
        .send
        .set_camera(clip(folder.path(), (64, 48)), wanted("64x48@15"));
    let timestamps: Vec<u32> = (0..12).map(|_| pipeline.frame().rtp_timestamp).collect();
    // Frames may be missing on a busy machine, but none may come too early.
    for pair in timestamps.windows(2) {
        assert!(
            pair[1].wrapping_sub(pair[0]) > 90_000 / 60 * 2,
            "{timestamps:?}"
        );
    }
    let stats = pipeline.send.stats();
    assert!(
        stats.frames_skipped >= 2 * stats.frames_encoded,
        "{stats:?}"
    );
}

#[test]
fn no_camera_means_no_frames_and_a_failure_leaves_the_pipeline_up() {
    let pipeline = pipeline();
    let missing = CameraSelection::File("/nowhere/clip.y4m".into());
    pipeline.send.set_camera(missing, wanted("320x180@30"));
    match pipeline.event() {
        MediaEvent::Failed {
            kind: DeviceKind::Camera,
            error,
        } => assert_eq!(error.problem, DeviceProblem::File),
        other => panic!("{other:?} instead of Failed"),
    }
    let absent = CameraSelection::Device("/dev/video99999".to_owned());
    pipeline.send.set_camera(absent, wanted("320x180@30"));
    match pipeline.event() {
        MediaEvent::Failed { error, .. } => assert_eq!(error.problem, DeviceProblem::NotFound),
        other => panic!("{other:?} instead of Failed"),
    }
    pipeline
        .send
        .set_camera(CameraSelection::Pattern, wanted("320x180@30"));
    pipeline.started();
    pipeline.frame();
    pipeline
        .send
        .set_camera(CameraSelection::None, wanted("320x180@30"));
    pipeline.stopped();
    while pipeline
        .frames
        .recv_timeout(Duration::from_millis(200))
        .is_ok()
    {}
    let before = pipeline.send.stats();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(
        pipeline.send.stats(),
        before,
        "something still runs without a camera"
    );
}

#[test]
fn a_file_that_breaks_while_it_plays_is_reported() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipeline = pipeline();
    let selection = clip(folder.path(), (64, 48));
    let CameraSelection::File(path) = &selection else {
        panic!("a file")
    };
    pipeline
        .send
        .set_camera(selection.clone(), wanted("64x48@30"));
    pipeline.started();
    pipeline.frame();
    let file = std::fs::File::options()
        .write(true)
        .open(path)
        .expect("opens");
    file.set_len(100).expect("cut off");
    match pipeline.event() {
        MediaEvent::Failed { error, .. } => assert_eq!(error.problem, DeviceProblem::File),
        other => panic!("{other:?} instead of Failed"),
    }
}

#[test]
fn forced_key_frames_are_at_least_a_second_apart() {
    let pipeline = pipeline();
    pipeline
        .send
        .set_camera(CameraSelection::Pattern, wanted("160x90@30"));
    let mut keys = Vec::new();
    let deadline = Instant::now() + Duration::from_millis(2600);
    while Instant::now() < deadline {
        for _ in 0..50 {
            pipeline.send.request_key_frame();
        }
        let frame = pipeline.frame();
        if frame.key_frame {
            keys.push(frame.captured_at);
        }
    }
    // A key frame is timed when it is done, which is a little after its capture.
    let slack = Duration::from_millis(300);
    assert!(keys.len() >= 2, "requests were not answered");
    for pair in keys.windows(2) {
        assert!(
            pair[1] - pair[0] + slack >= FORCED_KEY_FRAME_INTERVAL,
            "{keys:?}"
        );
    }
}

#[test]
fn the_self_view_is_small_and_costs_the_others_nothing() {
    struct Keys(AtomicU32);
    impl EncodedVideoSink for Keys {
        fn on_encoded_frame(&self, frame: &EncodedFrame) {
            assert_eq!(frame.resolution.to_string(), "1280x720");
            self.0
                .fetch_add(u32::from(frame.key_frame), Ordering::Relaxed);
        }
    }
    let others = Arc::new(Keys(AtomicU32::new(0)));
    let pipeline = self_view(others.clone());
    pipeline
        .send
        .set_camera(CameraSelection::Pattern, wanted("1280x720@30"));
    assert!(pipeline.frame_of("480x270").key_frame);
    for _ in 0..5 {
        pipeline.send.request_preview_key_frame();
        while !pipeline.frame().key_frame {}
    }
    assert_eq!(others.0.load(Ordering::Relaxed), 1);
    let stats = pipeline.send.stats();
    assert_eq!(stats.key_frames_encoded, 1);
    assert_eq!(stats.frame_width, 1280);
}

#[test]
fn alone_the_self_view_is_as_large_as_wanted() {
    let pipeline = self_view(Arc::new(Nobody));
    pipeline
        .send
        .set_preview_resolution(wanted("1280x720@30").resolution);
    pipeline
        .send
        .set_camera(CameraSelection::Pattern, wanted("1280x720@30"));
    pipeline.frame_of("1280x720");
    assert_eq!(pipeline.send.stats().frames_encoded, 0);
    pipeline
        .send
        .set_preview_resolution(ahoy_video::send::PREVIEW_RESOLUTION);
    assert!(pipeline.frame_of("480x270").key_frame);
}

#[test]
fn the_observer_sees_what_goes_to_the_encoder() {
    struct Watch(Mutex<Sender<(u64, Option<u32>)>>);
    impl CaptureObserver for Watch {
        fn captured(&self, frame: &VideoFrame) {
            let seen = (frame.number, read_stamp(&frame.picture));
            let _ = self.0.lock().expect("not poisoned").send(seen);
        }
    }
    let (sender, seen) = channel();
    let pipeline = pipeline();
    pipeline
        .send
        .set_observer(Some(Arc::new(Watch(Mutex::new(sender)))));
    pipeline
        .send
        .set_camera(CameraSelection::Pattern, wanted("160x90@30"));
    for number in 0..5 {
        let frame = seen.recv_timeout(PATIENCE).expect("a frame");
        assert_eq!(frame, (number, Some(number as u32)));
    }
    pipeline.send.set_observer(None);
}

#[test]
fn the_bitrate_reaches_the_encoder() {
    let pipeline = pipeline();
    pipeline.send.set_encoding(encoding(50));
    pipeline
        .send
        .set_camera(CameraSelection::Pattern, wanted("640x360@30"));
    for _ in 0..10 {
        pipeline.frame();
    }
    let starved = pipeline.send.stats();
    assert_eq!(starved.target_bitrate, Bitrate::from_kbps(50));
    pipeline.send.set_encoding(encoding(4000));
    for _ in 0..30 {
        pipeline.frame();
    }
    let rich = pipeline.send.stats();
    let mean_qp = |qp_sum: u64, frames: u64| qp_sum as f64 / frames as f64;
    let before = mean_qp(starved.qp_sum, starved.frames_encoded);
    let after = mean_qp(
        rich.qp_sum - starved.qp_sum,
        rich.frames_encoded - starved.frames_encoded,
    );
    assert!(
        after < before,
        "mean quantizer {before} at 50 kbit/s, {after} at 4000 kbit/s"
    );
}

#[test]
fn dropping_the_pipeline_ends_it() {
    let pipeline = pipeline();
    pipeline
        .send
        .set_camera(CameraSelection::Pattern, wanted("160x90@30"));
    pipeline.frame();
    let Pipeline { send, frames, .. } = pipeline;
    drop(send);
    while frames.try_recv().is_ok() {}
    // The sink is gone with the encode thread, so the channel is closed for good.
    assert!(frames.recv().is_err());
}

#[test]
fn an_overloaded_decoder_asks_for_a_key_frame_and_resumes_there() {
    let (asked_sender, asked) = channel();
    let asked_sender = Mutex::new(asked_sender);
    let (shown_sender, shown) = channel();
    let (release, gate) = channel::<()>();
    let decoder = VideoDecodeThread::start(
        move |frame: VideoFrame| {
            let _ = shown_sender.send(read_stamp(&frame.picture));
            let _ = gate.recv();
        },
        move || {
            let _ = asked_sender.lock().expect("not poisoned").send(());
        },
    );
    let mut source = capture::open(&CameraSelection::Pattern, wanted("64x48@60"))
        .expect("opens")
        .expect("a source");
    let mut encoder = encoder();
    let mut stamps = Vec::new();
    for number in 0..40_u32 {
        let frame = source.next_frame().expect("a frame");
        let key = number == 30;
        let encoded = encoder
            .encode(&frame.picture, number * 1500, frame.captured_at, key)
            .expect("encodes")
            .expect("not dropped");
        stamps.push(read_stamp(&frame.picture));
        if number == 30 {
            // The decoder catches up with what was queued, but not with what was dropped.
            asked
                .recv_timeout(PATIENCE)
                .expect("a key frame is asked for");
            for _ in 0..40 {
                let _ = release.send(());
            }
            while decoder.stats().frames_decoded < 15 {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        decoder.on_encoded_frame(&encoded);
    }
    drop(release);
    drop(source);
    let dropped = decoder.stats().frames_dropped;
    assert!((10..20).contains(&dropped), "{dropped} dropped");
    assert_eq!(decoder.decoding().given_up, dropped);
    let resumed: Vec<_> = shown.iter().take((40 - dropped) as usize).collect();
    let at = resumed
        .iter()
        .position(|stamp| *stamp == stamps[30])
        .expect("the key frame is shown");
    assert_eq!(resumed[at..], stamps[30..40]);
    assert_eq!(resumed[..at], stamps[..at]);
}

fn encoder() -> ahoy_video::vp8::Vp8Encoder {
    use ahoy_video::vp8::{Vp8Encoder, Vp8EncoderConfig};
    Vp8Encoder::new(Vp8EncoderConfig::new(
        Resolution::new(64, 48),
        Bitrate::from_kbps(1000),
        60,
    ))
    .expect("libvpx sets up")
}
