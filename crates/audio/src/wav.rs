//! WAV files in the place of a microphone or a speaker.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use hound::{SampleFormat, WavReader, WavSpec};

use super::resample::Resampler;
use super::{BLOCK_SAMPLES, Block, bounded};
use ahoy_media::device::{DeviceError, DeviceProblem};
use ahoy_media::units::AUDIO_CLOCK_HZ;

/// More channels than any recording of a voice has.
const MAX_CHANNELS: u16 = 64;
/// Blocks between the playout thread and the disk: a second and a quarter, longer than a disk
/// usually pauses. When it is full, blocks are dropped and counted.
const WRITER_QUEUE: usize = 125;
/// Blocks after which the file is brought up to date with its header, so that it can be played
/// even if the program dies: half a second.
const FLUSH_BLOCKS: u32 = 50;
/// Longest that completing a file is waited for: a disk that hangs must not hold up a call.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// A WAV file cannot describe more than 4 GiB.
const MAX_SAMPLES: u32 = (u32::MAX - 4_096) / 2;

/// A WAV file that is read again and again, converted to 48 kHz mono. It is read as it is
/// needed, so that its size does not matter. 8 to 32 bits, integer or float, 1 to 64 channels.
pub struct WavSource {
    label: String,
    path: PathBuf,
    reader: WavReader<BufReader<File>>,
    spec: WavSpec,
    resampler: Resampler,
    raw: Vec<f32>,
    ready: Vec<f32>,
    read_in_pass: u64,
}

impl WavSource {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// `File` when it is missing, unreadable, no WAV file or empty; `Unsupported` when its rate
    /// or number of channels is absurd.
    pub fn open(path: &Path) -> Result<Self, DeviceError> {
        let label = file_name(path);
        let failed = |detail: String| file_error(&label, &detail);
        // Opening a pipe would wait for its writer.
        match path.metadata() {
            Ok(metadata) if metadata.is_file() => {}
            Ok(_) => return Err(failed("it is no regular file".to_owned())),
            Err(error) => return Err(failed(error.to_string())),
        }
        let reader = WavReader::open(path).map_err(|error| failed(error.to_string()))?;
        let spec = reader.spec();
        if spec.channels == 0 || spec.channels > MAX_CHANNELS {
            let detail = format!("{label}: {} channels", spec.channels);
            return Err(DeviceError::new(DeviceProblem::Unsupported, detail));
        }
        if reader.duration() == 0 {
            return Err(failed("it contains no sound".to_owned()));
        }
        let mut source = Self {
            path: path.to_owned(),
            resampler: Resampler::new(spec.sample_rate, AUDIO_CLOCK_HZ)?,
            label,
            reader,
            spec,
            raw: Vec::new(),
            ready: Vec::new(),
            read_in_pass: 0,
        };
        // A header can promise more than there is: see whether anything can be read at all.
        source.read_more()?;
        Ok(source)
    }

    /// The file's name.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The next 10 ms; after the end the beginning.
    ///
    /// # Errors
    /// `File` when it can no longer be read.
    pub fn fill(&mut self, block: &mut Block) -> Result<(), DeviceError> {
        while self.ready.len() < BLOCK_SAMPLES {
            self.read_more()?;
        }
        let (first, _) = self.ready.split_at(BLOCK_SAMPLES);
        block.copy_from_slice(first);
        self.ready.drain(..BLOCK_SAMPLES);
        Ok(())
    }

    /// Reads about 10 ms, or the rest of the file, which it then rewinds.
    fn read_more(&mut self) -> Result<(), DeviceError> {
        let frames = (self.spec.sample_rate / 100).max(1) as usize;
        self.raw.clear();
        let whole = self.read_frames(frames);
        self.read_in_pass += self.raw.len() as u64;
        self.resampler.process(&self.raw, &mut self.ready);
        if whole {
            return Ok(());
        }
        if self.read_in_pass == 0 {
            let detail = format!("{} contains no sound that can be read", self.path.display());
            return Err(file_error(&self.label, &detail));
        }
        self.read_in_pass = 0;
        self.reader
            .seek(0)
            .map_err(|error| file_error(&self.label, &error.to_string()))
    }

    /// `false` at the end, or where a truncated file stops.
    fn read_frames(&mut self, frames: usize) -> bool {
        let channels = usize::from(self.spec.channels);
        let scale = match self.spec.sample_format {
            SampleFormat::Float => 1.0,
            SampleFormat::Int => 1.0 / (1_u64 << (self.spec.bits_per_sample - 1)) as f32,
        };
        for _ in 0..frames {
            let frame = match self.spec.sample_format {
                SampleFormat::Float => sum_frame(self.reader.samples::<f32>(), channels, |it| it),
                SampleFormat::Int => sum_frame(self.reader.samples::<i32>(), channels, |it| {
                    it as f32 * scale
                }),
            };
            match frame {
                Some(sum) => self.raw.push(sum / channels as f32),
                None => return false,
            }
        }
        true
    }
}

fn sum_frame<S>(
    mut samples: impl Iterator<Item = hound::Result<S>>,
    channels: usize,
    convert: impl Fn(S) -> f32,
) -> Option<f32> {
    let mut sum = 0.0;
    for _ in 0..channels {
        sum += bounded(convert(samples.next()?.ok()?));
    }
    Some(sum)
}

/// A WAV file, 48 kHz mono 16 bits, that takes blocks without ever waiting for the disk.
/// Dropping it completes the file.
pub struct WavSink {
    label: String,
    queue: Option<SyncSender<Block>>,
    failure: Arc<OnceLock<DeviceError>>,
    /// Closed when the file is complete.
    written: Receiver<()>,
    dropped: u64,
}

impl WavSink {
    /// Creates the file, replacing one that exists, and writes its header.
    ///
    /// # Errors
    /// `File` when it cannot be created or written.
    pub fn create(path: &Path) -> Result<Self, DeviceError> {
        let label = file_name(path);
        let failed = |error: hound::Error| file_error(&label, &error.to_string());
        let spec = WavSpec {
            channels: 1,
            sample_rate: AUDIO_CLOCK_HZ,
            bits_per_sample: 16,
            sample_format: SampleFormat::Int,
        };
        let mut file = hound::WavWriter::create(path, spec).map_err(failed)?;
        // A full disk shows only now.
        file.flush().map_err(failed)?;
        let (queue, blocks) = mpsc::sync_channel(WRITER_QUEUE);
        let failure = Arc::new(OnceLock::new());
        let (report, name) = (failure.clone(), label.clone());
        let (writing, written) = mpsc::channel();
        thread::Builder::new()
            .name("wav-writer".to_owned())
            .spawn(move || {
                let _writing: mpsc::Sender<()> = writing;
                if let Err(error) = write_all(file, &blocks) {
                    let _ = report.set(file_error(&name, &error));
                }
            })
            .map_err(|error| DeviceError::new(DeviceProblem::Failed, error))?;
        Ok(Self {
            label,
            queue: Some(queue),
            failure,
            written,
            dropped: 0,
        })
    }

    /// The file's name.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Queues 10 ms for writing.
    ///
    /// # Errors
    /// `File` when writing has failed, for instance on a full disk: the file is closed then.
    pub fn write(&mut self, block: &Block) -> Result<(), DeviceError> {
        if let Some(error) = self.failure.get() {
            return Err(error.clone());
        }
        let queue = self.queue.as_ref();
        if queue.is_some_and(|queue| matches!(queue.try_send(*block), Err(TrySendError::Full(_)))) {
            self.dropped += 1;
            if self.dropped == 1 {
                tracing::warn!(file = self.label, "the disk is too slow, sound is left out");
            }
        }
        Ok(())
    }

    /// Completes the file and waits until that is done, 2 s at most.
    ///
    /// # Errors
    /// `File` when something could not be written.
    pub fn close(mut self) -> Result<(), DeviceError> {
        self.complete();
        self.failure
            .get()
            .map_or(Ok(()), |error| Err(error.clone()))
    }

    fn complete(&mut self) {
        if self.queue.take().is_some() {
            // Nothing is ever sent: what ends the wait is the end of the writer.
            let _ = self.written.recv_timeout(CLOSE_TIMEOUT);
        }
    }
}

impl Drop for WavSink {
    fn drop(&mut self) {
        self.complete();
    }
}

fn write_all(
    mut file: hound::WavWriter<std::io::BufWriter<File>>,
    blocks: &Receiver<Block>,
) -> Result<(), String> {
    let mut unflushed = 0;
    let failed = |error: hound::Error| error.to_string();
    for block in blocks {
        if file.len() > MAX_SAMPLES - BLOCK_SAMPLES as u32 {
            file.finalize().map_err(failed)?;
            return Err("a WAV file cannot be larger than 4 GiB".to_owned());
        }
        for sample in block {
            let sample = (bounded(sample) * f32::from(i16::MAX)).round() as i16;
            file.write_sample(sample).map_err(failed)?;
        }
        unflushed += 1;
        if unflushed == FLUSH_BLOCKS {
            unflushed = 0;
            file.flush().map_err(failed)?;
        }
    }
    file.finalize().map_err(failed)
}

fn file_error(label: &str, detail: &str) -> DeviceError {
    DeviceError::new(DeviceProblem::File, format!("{label}: {detail}"))
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(
        || path.display().to_string(),
        |it| it.to_string_lossy().into_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SILENCE;
    use crate::pcm::testing::{frequency, sine};

    fn write(path: &Path, spec: WavSpec, seconds: f32) {
        let mut file = hound::WavWriter::create(path, spec).expect("a file");
        let frames = (seconds * spec.sample_rate as f32) as usize;
        for sample in sine(440.0, 0.5, spec.sample_rate, frames) {
            for _ in 0..spec.channels {
                match spec.sample_format {
                    SampleFormat::Float => file.write_sample(sample).expect("written"),
                    SampleFormat::Int => {
                        let full = ((1_u64 << (spec.bits_per_sample - 1)) - 1) as f32;
                        file.write_sample((sample * full) as i32).expect("written");
                    }
                }
            }
        }
        file.finalize().expect("complete");
    }

    fn spec(channels: u16, sample_rate: u32, bits_per_sample: u16, float: bool) -> WavSpec {
        let sample_format = if float {
            SampleFormat::Float
        } else {
            SampleFormat::Int
        };
        WavSpec {
            channels,
            sample_rate,
            bits_per_sample,
            sample_format,
        }
    }

    fn problem(path: &Path) -> DeviceProblem {
        WavSource::open(path).err().expect("no usable file").problem
    }

    #[test]
    fn every_depth_rate_and_channel_count_sounds_the_same_and_loops() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("tone.wav");
        for spec in [
            spec(1, 48_000, 16, false),
            spec(2, 44_100, 16, false),
            spec(1, 8_000, 8, false),
            spec(6, 96_000, 24, false),
            spec(2, 16_000, 32, false),
            spec(2, 22_050, 32, true),
        ] {
            // A quarter of a second, 110 whole waves, four times over.
            write(&path, spec, 0.25);
            let mut source = WavSource::open(&path).expect("a usual file");
            assert_eq!(source.label(), "tone.wav");
            let mut all = Vec::new();
            for _ in 0..100 {
                let mut block = SILENCE;
                source.fill(&mut block).expect("readable");
                all.extend_from_slice(&block);
            }
            assert!(
                (frequency(&all[4_800..], 48_000) - 440.0).abs() < 3.0,
                "{spec:?}"
            );
            let peak = all[4_800..]
                .iter()
                .fold(0.0_f32, |peak, it| peak.max(it.abs()));
            assert!((peak - 0.5).abs() < 0.03, "{spec:?}: {peak}");
        }
    }

    #[test]
    fn unusable_files_say_so() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("it.wav");
        assert_eq!(problem(&path), DeviceProblem::File);
        assert_eq!(problem(directory.path()), DeviceProblem::File);
        assert_eq!(problem(Path::new("/dev/null")), DeviceProblem::File);
        for bytes in [
            &b""[..],
            b"RIFF",
            b"not a sound at all, just words",
            &[0xFF; 100],
        ] {
            std::fs::write(&path, bytes).expect("written");
            assert_eq!(problem(&path), DeviceProblem::File, "{bytes:?}");
        }
        write(&path, spec(1, 48_000, 16, false), 0.0);
        assert_eq!(problem(&path), DeviceProblem::File, "empty");
        write(&path, spec(1, 100, 16, false), 1.0);
        assert_eq!(problem(&path), DeviceProblem::Unsupported);
        write(&path, spec(200, 48_000, 16, false), 0.01);
        assert_eq!(problem(&path), DeviceProblem::Unsupported);
        // A header that promises sound, and nothing behind it.
        write(&path, spec(1, 48_000, 16, false), 1.0);
        let whole = std::fs::read(&path).expect("readable");
        std::fs::write(&path, &whole[..44]).expect("written");
        assert_eq!(problem(&path), DeviceProblem::File);
    }

    #[test]
    fn a_truncated_file_plays_what_there_is() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("it.wav");
        write(&path, spec(1, 48_000, 16, false), 1.0);
        let whole = std::fs::read(&path).expect("readable");
        std::fs::write(&path, &whole[..20_001]).expect("written");
        let mut source = WavSource::open(&path).expect("a beginning");
        let mut block = SILENCE;
        for _ in 0..100 {
            source.fill(&mut block).expect("loops");
        }
    }

    #[test]
    fn a_file_in_writing_can_be_read_already() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("out.wav");
        let mut sink = WavSink::create(&path).expect("writable");
        assert_eq!(WavReader::open(&path).expect("a header").duration(), 0);
        for _ in 0..FLUSH_BLOCKS {
            sink.write(&[0.5; BLOCK_SAMPLES]).expect("written");
        }
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        let frames = || WavReader::open(&path).map_or(0, |file| file.duration());
        while frames() < FLUSH_BLOCKS * BLOCK_SAMPLES as u32 {
            assert!(std::time::Instant::now() < deadline, "{}", frames());
            thread::sleep(Duration::from_millis(10));
        }
        sink.write(&[2.0; BLOCK_SAMPLES]).expect("written");
        sink.close().expect("complete");
        let mut file = WavReader::open(&path).expect("a file");
        let samples: Vec<i16> = file.samples().map(|it| it.expect("whole")).collect();
        assert_eq!(samples.len(), 51 * BLOCK_SAMPLES);
        assert_eq!(
            (samples[0], samples[50 * BLOCK_SAMPLES]),
            (16_384, i16::MAX)
        );
    }

    #[test]
    fn a_place_that_cannot_be_written_says_so() {
        let directory = tempfile::tempdir().expect("a directory");
        let nowhere = directory.path().join("no such directory/out.wav");
        let error = WavSink::create(&nowhere).err().expect("nowhere");
        assert_eq!(error.problem, DeviceProblem::File);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_says_so() {
        let error = WavSink::create(Path::new("/dev/full")).err().expect("full");
        assert_eq!(error.problem, DeviceProblem::File);
    }
}
