//! WAV files in the place of a microphone or a speaker.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::sync::{Arc, OnceLock};
use std::thread;

use hound::{SampleFormat, WavReader, WavSpec};

use super::resample::Resampler;
use super::{BLOCK_SAMPLES, Block, bounded};
use crate::device::{DeviceError, DeviceProblem};
use crate::units::AUDIO_CLOCK_HZ;

/// More channels than any recording of a voice has.
const MAX_CHANNELS: u16 = 64;
/// Blocks between the playout thread and the disk: a second and a quarter, longer than a disk
/// usually pauses. When it is full, blocks are dropped and counted.
const WRITER_QUEUE: usize = 125;
/// Blocks after which the file is brought up to date with its header, so that it can be played
/// even if the program dies: half a second.
const FLUSH_BLOCKS: u32 = 50;
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
/// Dropping it completes the file in the background; [`Self::close`] waits for that.
pub struct WavSink {
    label: String,
    queue: Option<SyncSender<Block>>,
    failure: Arc<OnceLock<DeviceError>>,
    writer: Option<thread::JoinHandle<()>>,
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
        let writer = thread::Builder::new()
            .name("wav-writer".to_owned())
            .spawn(move || {
                if let Err(error) = write_all(file, &blocks) {
                    let _ = report.set(file_error(&name, &error));
                }
            })
            .map_err(|error| DeviceError::new(DeviceProblem::Failed, error))?;
        Ok(Self {
            label,
            queue: Some(queue),
            failure,
            writer: Some(writer),
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
        if let Some(Err(TrySendError::Full(_))) = self.queue.as_ref().map(|it| it.try_send(*block))
        {
            self.dropped += 1;
            if self.dropped == 1 {
                tracing::warn!(file = self.label, "the disk is too slow, sound is left out");
            }
        }
        Ok(())
    }

    /// Completes the file and waits until that is done.
    ///
    /// # Errors
    /// `File` when something could not be written.
    pub fn close(mut self) -> Result<(), DeviceError> {
        self.queue = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
        self.failure
            .get()
            .map_or(Ok(()), |error| Err(error.clone()))
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
