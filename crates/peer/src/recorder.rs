//! `--save-video`: received pictures into a y4m file, off the decode thread, which must not wait
//! for a disk.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ahoy_media::frame::I420;
use ahoy_video::capture::y4m::Y4mWriter;
use serde::Serialize;

use crate::exit::{Exit, Failure};

/// Pictures that may wait for the disk: a quarter of a second, 11 MB at 720p. When it is full,
/// pictures are left out of the file and counted.
const WAITING: usize = 8;

/// How long the last pictures may take to reach the disk.
const FINISH: Duration = Duration::from_secs(5);

/// A file being written.
pub(crate) struct Recorder {
    name: String,
    input: RecorderInput,
    ended: Receiver<Result<u64, String>>,
}

/// Where pictures are put; clones share the file.
#[derive(Clone)]
pub(crate) struct RecorderInput {
    pictures: SyncSender<Arc<I420>>,
    left_out: Arc<AtomicU64>,
    failure: Arc<OnceLock<String>>,
}

/// What has become of the pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Recorded {
    /// Pictures in the file.
    pub(crate) frames: u64,
    /// Pictures that the disk was too slow for.
    pub(crate) frames_left_out: u64,
}

impl Recorder {
    /// Creates the file, or empties it. `frame_rate` is what its header says.
    ///
    /// # Errors
    /// [`Exit::Output`]
    pub(crate) fn create(path: &Path, frame_rate: u32) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let writer = Y4mWriter::create(path, frame_rate).map_err(|error| {
            let detail = error.detail;
            let message = format!(
                "Nothing can be recorded ({detail}): choose another place for --save-video."
            );
            Failure::new(Exit::Output, message)
        })?;
        let (pictures, waiting) = mpsc::sync_channel(WAITING);
        let (end, ended) = mpsc::sync_channel(1);
        let failure = Arc::new(OnceLock::new());
        let noted = Arc::clone(&failure);
        std::thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(move || {
                let result = write_all(writer, &waiting);
                if let Err(error) = &result {
                    let _ = noted.set(error.clone());
                }
                let _ = end.send(result);
            })
            .map_err(|error| Failure::other(format!("Cannot start a thread: {error}.")))?;
        Ok(Self {
            name,
            input: RecorderInput {
                pictures,
                left_out: Arc::default(),
                failure,
            },
            ended,
        })
    }

    /// For those who have pictures.
    pub(crate) fn input(&self) -> RecorderInput {
        self.input.clone()
    }

    /// Completes the file. Blocks for some seconds at most. Every other [`RecorderInput`] must be
    /// gone.
    ///
    /// # Errors
    /// [`Exit::Output`] when pictures are missing at the end.
    pub(crate) fn finish(self) -> Result<Recorded, Failure> {
        let left_out = Arc::clone(&self.input.left_out);
        drop(self.input);
        match self.ended.recv_timeout(FINISH) {
            Ok(Ok(frames)) => Ok(Recorded {
                frames,
                frames_left_out: left_out.load(Ordering::Relaxed),
            }),
            Ok(Err(error)) => Err(unwritable(&self.name, &error)),
            Err(_) => Err(unwritable(&self.name, "the disk does not answer")),
        }
    }
}

impl RecorderInput {
    /// What has gone wrong so far, in the system's words.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// Queues a picture; never waits.
    pub(crate) fn put(&self, picture: &Arc<I420>) {
        match self.pictures.try_send(Arc::clone(picture)) {
            // The writer has ended: that is reported as its failure.
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(_)) => {
                self.left_out.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

fn write_all(mut writer: Y4mWriter, pictures: &Receiver<Arc<I420>>) -> Result<u64, String> {
    let mut frames = 0;
    for picture in pictures {
        writer.write(&picture).map_err(|error| error.to_string())?;
        frames += 1;
    }
    writer.finish().map_err(|error| error.to_string())?;
    Ok(frames)
}

fn unwritable(name: &str, detail: &str) -> Failure {
    let detail = detail.trim_end_matches('.');
    Failure::new(
        Exit::Output,
        format!("\"{name}\" cannot be written ({detail}): choose another place for --save-video."),
    )
}

#[cfg(test)]
mod tests {
    use ahoy_media::units::Resolution;
    use ahoy_video::capture::VideoSource;
    use ahoy_video::capture::stamp::{read_stamp, write_stamp};
    use ahoy_video::capture::y4m::Y4mSource;

    use super::*;

    #[test]
    fn pictures_end_up_in_the_file_in_order() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("seen.y4m");
        let recorder = Recorder::create(&path, 200).expect("created");
        for number in 0..5 {
            let mut picture = I420::black(Resolution::new(128, 72));
            write_stamp(&mut picture, number);
            recorder.input().put(&Arc::new(picture));
        }
        assert_eq!(
            recorder.finish(),
            Ok(Recorded {
                frames: 5,
                frames_left_out: 0
            })
        );
        let mut source = Y4mSource::open(&path).expect("plays");
        for number in 0..5 {
            let frame = source.next_frame().expect("a picture");
            assert_eq!(read_stamp(&frame.picture), Some(number));
        }
    }

    #[test]
    fn places_that_cannot_be_written_are_outputs() {
        let failure = Recorder::create(Path::new("/no/such/folder/seen.y4m"), 30)
            .err()
            .expect("refused");
        assert_eq!(failure.exit, Exit::Output);
        assert!(failure.message.contains("/no/such/folder/seen.y4m"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_told() {
        let recorder = Recorder::create(Path::new("/dev/full"), 30).expect("opens");
        recorder
            .input()
            .put(&Arc::new(I420::black(Resolution::new(640, 360))));
        let failure = recorder.finish().expect_err("full");
        assert_eq!(failure.exit, Exit::Output);
    }
}
