//! YUV4MPEG2 files: as a camera that plays in a loop, and as a recording of what was received.
//! The format is described by the mjpegtools manual page `yuv4mpeg(5)`.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::pace::Cadence;
use super::scale::Scaler;
use super::{MAX_SIDE, VideoSource};
use ahoy_media::device::{DeviceError, DeviceProblem};
use ahoy_media::frame::{I420, VideoFrame};
use ahoy_media::pool::FramePool;
use ahoy_media::units::{Resolution, VideoConstraints};

/// Longest line that is read: real ones have less than 100 bytes.
const MAX_LINE: u64 = 1024;
/// Highest frame rate that is played.
const MAX_FRAME_RATE: u64 = 240;

/// What the first line of a file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Y4mHeader {
    /// Size of every picture.
    pub resolution: Resolution,
    /// Time from one picture to the next.
    pub interval: Duration,
}

impl Y4mHeader {
    /// Reads a header line without its line feed. Pictures of up to 4096x4096, 4:2:0, 8 bit,
    /// progressive.
    ///
    /// # Errors
    /// What does not fit, in words for a person.
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        let line = std::str::from_utf8(line).map_err(|_| not_y4m())?;
        let mut fields = line.split_ascii_whitespace();
        if fields.next() != Some("YUV4MPEG2") {
            return Err(not_y4m());
        }
        let (mut width, mut height, mut interval) = (None, None, None);
        for field in fields {
            let Some(value) = field.get(1..) else {
                continue;
            };
            match field.as_bytes().first() {
                Some(b'W') => width = Some(parse_side("width", value)?),
                Some(b'H') => height = Some(parse_side("height", value)?),
                Some(b'F') => interval = Some(parse_interval(value)?),
                Some(b'C') => check_chroma(value)?,
                Some(b'I') => check_interlacing(value)?,
                _ => {}
            }
        }
        match (width, height, interval) {
            (Some(width), Some(height), Some(interval)) => Ok(Self {
                resolution: Resolution::new(width, height),
                interval,
            }),
            (None, ..) => Err("the header names no width".to_owned()),
            (_, None, _) => Err("the header names no height".to_owned()),
            (.., None) => Err("the header names no frame rate".to_owned()),
        }
    }

    fn constraints(self) -> VideoConstraints {
        let rate = (1.0 / self.interval.as_secs_f64()).round();
        VideoConstraints {
            resolution: self.resolution,
            frame_rate: (rate as u32).max(1),
        }
    }
}

fn not_y4m() -> String {
    "it is no YUV4MPEG2 (y4m) file".to_owned()
}

fn parse_side(name: &str, value: &str) -> Result<u32, String> {
    match value.parse::<u32>() {
        Ok(side) if (1..=MAX_SIDE).contains(&side) => Ok(side),
        _ => Err(format!(
            "the {name} \"{value}\" is not a number from 1 to {MAX_SIDE}"
        )),
    }
}

fn parse_interval(value: &str) -> Result<Duration, String> {
    let error = || format!("the frame rate \"{value}\" cannot be played");
    let (frames, seconds) = value.split_once(':').ok_or_else(error)?;
    let (frames, seconds): (u64, u64) = (
        frames.parse().map_err(|_| error())?,
        seconds.parse().map_err(|_| error())?,
    );
    let whole = frames > 0
        && seconds > 0
        && frames <= seconds.saturating_mul(MAX_FRAME_RATE)
        && seconds <= frames.saturating_mul(10);
    if !whole {
        return Err(error());
    }
    Ok(Duration::from_secs_f64(seconds as f64 / frames as f64))
}

fn check_chroma(value: &str) -> Result<(), String> {
    match value {
        "420" | "420jpeg" | "420mpeg2" | "420paldv" => Ok(()),
        _ => Err(format!(
            "its colour format is C{value}; only 4:2:0 with 8 bits is understood (C420jpeg, C420mpeg2, C420paldv)"
        )),
    }
}

fn check_interlacing(value: &str) -> Result<(), String> {
    match value {
        "p" | "?" => Ok(()),
        _ => Err("it is interlaced; only progressive pictures are understood".to_owned()),
    }
}

/// A file that is played in a loop at its own frame rate. Reads one picture at a time.
pub struct Y4mSource {
    path: PathBuf,
    file: BufReader<File>,
    header: Y4mHeader,
    first_frame: u64,
    frames: u64,
    position: u64,
    cadence: Cadence,
    pool: FramePool,
    number: u64,
}

impl Y4mSource {
    /// Opens the file and checks its structure to the end, without reading the pictures.
    ///
    /// # Errors
    /// [`DeviceProblem::File`] when it cannot be read, is of another kind, has no picture or ends
    /// in the middle of one.
    pub fn open(path: &Path) -> Result<Self, DeviceError> {
        Self::try_open(path).map_err(|why| file_error(path, &why))
    }

    /// Number of pictures in the file.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    fn try_open(path: &Path) -> Result<Self, String> {
        let file = File::open(path).map_err(|error| error.to_string())?;
        let metadata = file.metadata().map_err(|error| error.to_string())?;
        if !metadata.is_file() {
            return Err("it is no file".to_owned());
        }
        let mut file = BufReader::new(file);
        let line = read_line(&mut file)?.ok_or_else(|| "it is empty".to_owned())?;
        let header = Y4mHeader::parse(&line)?;
        let first_frame = file.stream_position().map_err(|error| error.to_string())?;
        let frames = count_frames(&mut file, header.resolution, metadata.len())?;
        if frames == 0 {
            return Err("it has no pictures".to_owned());
        }
        let mut source = Self {
            path: path.to_owned(),
            file,
            header,
            first_frame,
            frames,
            position: 0,
            cadence: Cadence::new(header.interval),
            pool: FramePool::new(),
            number: 0,
        };
        source.rewind().map_err(|error| error.to_string())?;
        Ok(source)
    }

    fn rewind(&mut self) -> io::Result<()> {
        self.position = 0;
        self.file.seek(SeekFrom::Start(self.first_frame)).map(drop)
    }

    fn read_picture(&mut self) -> Result<Arc<I420>, String> {
        if self.position == self.frames {
            self.rewind().map_err(|error| error.to_string())?;
        }
        let line = read_line(&mut self.file)?.ok_or_else(|| "it has become shorter".to_owned())?;
        check_frame_line(&line)?;
        let file = &mut self.file;
        let picture = self
            .pool
            .fill(self.header.resolution, |picture| {
                file.read_exact(picture.as_bytes_mut())
            })
            .map_err(|error| error.to_string())?;
        self.position += 1;
        Ok(picture)
    }
}

impl VideoSource for Y4mSource {
    fn label(&self) -> String {
        self.path.file_name().map_or_else(
            || self.path.display().to_string(),
            |name| name.to_string_lossy().into_owned(),
        )
    }

    fn format(&self) -> VideoConstraints {
        self.header.constraints()
    }

    fn next_frame(&mut self) -> Result<VideoFrame, DeviceError> {
        let picture = self
            .read_picture()
            .map_err(|why| file_error(&self.path, &why))?;
        self.cadence.wait();
        let number = self.number;
        self.number += 1;
        Ok(VideoFrame {
            picture,
            captured_at: Instant::now(),
            number,
        })
    }
}

fn file_error(path: &Path, why: &str) -> DeviceError {
    DeviceError::new(
        DeviceProblem::File,
        format!("cannot play \"{}\": {why}", path.display()),
    )
}

/// Reads up to the next line feed and takes that off; `None` at the end of the file.
fn read_line(file: &mut impl BufRead) -> Result<Option<Vec<u8>>, String> {
    let mut line = Vec::new();
    file.take(MAX_LINE)
        .read_until(b'\n', &mut line)
        .map_err(|error| error.to_string())?;
    match line.pop() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(line)),
        Some(_) if line.len() as u64 >= MAX_LINE - 1 => Err(not_y4m()),
        Some(_) => Err("it ends in the middle of a line".to_owned()),
    }
}

fn check_frame_line(line: &[u8]) -> Result<(), String> {
    if line == b"FRAME" || line.starts_with(b"FRAME ") {
        Ok(())
    } else {
        Err("a picture does not begin with FRAME".to_owned())
    }
}

/// Steps from picture to picture up to the end of the file.
fn count_frames(
    file: &mut BufReader<File>,
    resolution: Resolution,
    file_len: u64,
) -> Result<u64, String> {
    let picture = I420::byte_len(resolution) as i64;
    let mut frames = 0;
    while let Some(line) = read_line(file)? {
        check_frame_line(&line)?;
        file.seek_relative(picture)
            .map_err(|error| error.to_string())?;
        let end = file.stream_position().map_err(|error| error.to_string())?;
        if end > file_len {
            return Err(format!("it ends in the middle of picture {}", frames + 1));
        }
        frames += 1;
    }
    Ok(frames)
}

/// Writes a file. The first picture decides the size; later ones of another size are scaled to
/// it, because the format knows only one size per file.
pub struct Y4mWriter {
    file: BufWriter<File>,
    frame_rate: u32,
    resolution: Option<Resolution>,
    scaled: Option<(Scaler, I420)>,
}

impl Y4mWriter {
    /// Creates the file, or empties it. `frame_rate` is pictures per second, which the format
    /// takes to be constant.
    ///
    /// # Errors
    /// [`DeviceProblem::File`] when it cannot be created.
    pub fn create(path: &Path, frame_rate: u32) -> Result<Self, DeviceError> {
        let file = File::create(path).map_err(|error| {
            DeviceError::new(
                DeviceProblem::File,
                format!("cannot write \"{}\": {error}", path.display()),
            )
        })?;
        Ok(Self {
            file: BufWriter::new(file),
            frame_rate: frame_rate.max(1),
            resolution: None,
            scaled: None,
        })
    }

    /// Appends one picture.
    ///
    /// # Errors
    /// What the system says, such as a full disk.
    pub fn write(&mut self, picture: &I420) -> io::Result<()> {
        let resolution = match self.resolution {
            Some(resolution) => resolution,
            None => self.write_header(picture.resolution())?,
        };
        self.file.write_all(b"FRAME\n")?;
        if picture.resolution() == resolution {
            return self.file.write_all(picture.as_bytes());
        }
        let (scaler, scaled) = self
            .scaled
            .get_or_insert_with(|| (Scaler::new(), I420::black(resolution)));
        scaler.scale(picture, scaled).map_err(io::Error::other)?;
        self.file.write_all(scaled.as_bytes())
    }

    /// Writes out what is still buffered.
    ///
    /// # Errors
    /// What the system says.
    pub fn finish(mut self) -> io::Result<()> {
        self.file.flush()
    }

    fn write_header(&mut self, resolution: Resolution) -> io::Result<Resolution> {
        let Resolution { width, height } = resolution;
        let rate = self.frame_rate;
        writeln!(
            self.file,
            "YUV4MPEG2 W{width} H{height} F{rate}:1 Ip A1:1 C420jpeg"
        )?;
        self.resolution = Some(resolution);
        Ok(resolution)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(content: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("temporary file");
        file.write_all(content).expect("written");
        file
    }

    fn problem(content: &[u8]) -> String {
        let file = file(content);
        let error = Y4mSource::open(file.path()).err().expect("refused");
        assert_eq!(error.problem, DeviceProblem::File);
        error.detail
    }

    #[test]
    fn headers_in_use_are_understood() {
        let header = Y4mHeader::parse(
            b"YUV4MPEG2 W352 H288 F30000:1001 Ip A128:117 C420mpeg2 XYSCSS=420MPEG2",
        )
        .expect("valid");
        assert_eq!(header.resolution.to_string(), "352x288");
        assert_eq!(header.constraints().frame_rate, 30);
        assert!(header.interval > Duration::from_micros(33_366));
        let header = Y4mHeader::parse(b"YUV4MPEG2 H9 W16 F25:1").expect("valid");
        assert_eq!(header.resolution.to_string(), "16x9");
    }

    #[test]
    fn a_recording_plays_back_in_a_loop() {
        let target = file(b"");
        let mut writer = Y4mWriter::create(target.path(), 200).expect("created");
        for value in [20, 120] {
            let mut picture = I420::black(Resolution::new(5, 3));
            picture.as_bytes_mut().fill(value);
            writer.write(&picture).expect("written");
        }
        let mut large = I420::black(Resolution::new(50, 30));
        large.as_bytes_mut().fill(220);
        writer.write(&large).expect("scaled and written");
        writer.finish().expect("flushed");

        let mut source = Y4mSource::open(target.path()).expect("opens");
        assert_eq!(source.frames(), 3);
        assert_eq!(source.format().to_string(), "5x3@200");
        let mut seen = Vec::new();
        for _ in 0..5 {
            let frame = source.next_frame().expect("plays");
            seen.push((frame.number, frame.picture.as_bytes()[0]));
        }
        assert_eq!(seen, [(0, 20), (1, 120), (2, 220), (3, 20), (4, 120)]);
    }

    #[test]
    fn wrong_files_are_refused_with_the_reason() {
        let head = b"YUV4MPEG2 W4 H2 F30:1 C420jpeg\n";
        assert!(problem(b"").contains("empty"));
        assert!(problem(b"RIFF....WAVEfmt \n").contains("no YUV4MPEG2"));
        assert!(problem(&[0xff; 4000]).contains("no YUV4MPEG2"));
        assert!(problem(b"YUV4MPEG2 W4 H2 F30:1").contains("middle of a line"));
        assert!(problem(head).contains("no pictures"));
        assert!(
            problem(&[head.as_slice(), b"FRAME\n12345678abc"].concat())
                .contains("middle of picture 1")
        );
        assert!(
            problem(&[head.as_slice(), b"FRAME\n12345678abcdGARBAGE\n"].concat()).contains("FRAME")
        );
        assert!(problem(b"YUV4MPEG2 W4 H2 F30:1 C422\n").contains("C422"));
        assert!(problem(b"YUV4MPEG2 W4 H2 F30:1 C420p10\n").contains("C420p10"));
        assert!(problem(b"YUV4MPEG2 W4 H2 F30:1 It\n").contains("interlaced"));
        assert!(problem(b"YUV4MPEG2 W0 H2 F30:1\n").contains("width"));
        assert!(problem(b"YUV4MPEG2 W4 H99999 F30:1\n").contains("height"));
        assert!(problem(b"YUV4MPEG2 W4 H2 F0:0\n").contains("frame rate"));
        assert!(problem(b"YUV4MPEG2 W4 H2\n").contains("frame rate"));
        let missing = Y4mSource::open(Path::new("/nowhere/at/all.y4m"))
            .err()
            .expect("refused");
        assert_eq!(missing.problem, DeviceProblem::File);
        let folder = Y4mSource::open(&std::env::temp_dir())
            .err()
            .expect("refused");
        assert_eq!(folder.problem, DeviceProblem::File);
        assert!(Y4mWriter::create(Path::new("/nowhere/at/all.y4m"), 30).is_err());
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(line in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = Y4mHeader::parse(&line);
        }

        #[test]
        fn no_plausible_header_makes_it_panic(line in "YUV4MPEG2( [WHFCIAX][-0-9:p]{0,25}){0,6}") {
            if let Ok(header) = Y4mHeader::parse(line.as_bytes()) {
                prop_assert!(header.resolution.pixels() > 0);
                prop_assert!(header.constraints().frame_rate > 0);
            }
        }
    }
}
