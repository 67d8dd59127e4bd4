//! Streams of a PulseAudio server, or of PipeWire in its place, one connection and one thread
//! each. cpal has such streams too; its client clears a megabyte whenever it wakes up and asks
//! for the time after every buffer, which costs more processor time than all of a call's sound.

use std::ffi::CString;
use std::io::{self, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};

use pulseaudio::protocol::stream::{BufferAttr, StreamFlags};
use pulseaudio::protocol::{
    self, AuthParams, AuthReply, ChannelMap, ChannelPosition, Command, CreatePlaybackStreamReply,
    CreateRecordStreamReply, DESCRIPTOR_SIZE, Descriptor, DescriptorFlags, PlaybackStreamParams,
    Prop, Props, ProtocolError, PulseError, RecordStreamParams, SampleFormat, SampleSpec,
    SetClientNameReply, SetPlaybackStreamBufferAttrParams,
};

use super::margin::Margin;
use super::stream::Health;
use crate::priority::raise_current_thread;
use ahoy_media::device::{DeviceError, DeviceProblem};

/// Longest that a server may take to answer; waking a Bluetooth headset takes seconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest message that is taken for one: the server's own limit for a block of samples is
/// 64 KiB.
const MAX_MESSAGE: usize = 1 << 20;
const SAMPLE_BYTES: usize = size_of::<f32>();
/// What a server holds beyond one request of what is played. It gives a part of it to the device,
/// and plays the rest while a request is answered.
const RESERVE_MS: u32 = 20;
/// More than that once it was too little, and at most.
const MARGIN_STEP_MS: u32 = 10;
const MAX_MARGIN_MS: u32 = 80;

/// What a stream is to be like: 32-bit float samples, one or two channels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Format {
    /// Frames per second.
    pub(super) rate: u32,
    /// 1 or 2.
    pub(super) channels: u8,
    /// Frames that are to come or go at once.
    pub(super) buffer_frames: u32,
}

/// A connection with a name.
pub(super) struct Server {
    pub(super) socket: BufReader<UnixStream>,
    pub(super) version: u16,
}

/// An open stream. Dropping it closes it; its thread ends by itself.
pub(super) struct Stream(UnixStream);

impl Drop for Stream {
    fn drop(&mut self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

/// Bytes of a cookie.
const COOKIE_BYTES: usize = 256;

/// What the server recognises its user by: in the place that the environment names, or in one of the
/// usual ones. Without any, zeros, for servers that let everybody in; an empty one is refused as
/// malformed.
fn cookie() -> Vec<u8> {
    let named = std::env::var_os("PULSE_COOKIE").map(PathBuf::from);
    let config =
        std::env::var_os("XDG_CONFIG_HOME").map(|path| PathBuf::from(path).join("pulse/cookie"));
    let places = [named, config, pulseaudio::cookie_path_from_env()];
    let mut found = places
        .into_iter()
        .flatten()
        .filter_map(|path| std::fs::read(path).ok());
    found
        .find(|cookie| cookie.len() == COOKIE_BYTES)
        .unwrap_or_else(|| vec![0; COOKIE_BYTES])
}

impl Server {
    /// Connects to the server that the environment names.
    pub(super) fn connect(name: CString) -> Result<Self, ProtocolError> {
        let path = pulseaudio::socket_path_from_env();
        let path = path.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let socket = UnixStream::connect(path)?;
        socket.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        socket.set_write_timeout(Some(ANSWER_TIMEOUT))?;
        let mut server = Self {
            socket: BufReader::new(socket),
            version: protocol::MAX_VERSION,
        };
        let auth: AuthReply = server.ask(&Command::Auth(AuthParams {
            version: protocol::MAX_VERSION,
            supports_shm: false,
            supports_memfd: false,
            cookie: cookie(),
        }))?;
        server.version = server.version.min(auth.version);
        let mut props = Props::new();
        props.set(Prop::ApplicationName, name);
        let _: SetClientNameReply = server.ask(&Command::SetClientName(props))?;
        Ok(server)
    }

    pub(super) fn tell(&mut self, command: &Command) -> Result<(), ProtocolError> {
        protocol::write_command_message(self.socket.get_mut(), 0, command, self.version)
    }

    fn ask<R: protocol::CommandReply>(&mut self, command: &Command) -> Result<R, ProtocolError> {
        self.tell(command)?;
        Ok(protocol::read_reply_message(&mut self.socket, self.version)?.1)
    }

    /// Waits for the next message as long as it takes.
    pub(super) fn wait_for_ever(&self) -> io::Result<UnixStream> {
        self.socket.get_ref().set_read_timeout(None)?;
        self.socket.get_ref().try_clone()
    }

    /// Sleeps until there is something to read. A read that blocks is also woken whenever the server
    /// has taken what was written, only to sleep again: twice as often for a stream that plays.
    fn wait_until_readable(&self) {
        if self.socket.buffer().is_empty() {
            // If it fails, the read that follows says why.
            let _ = poll(
                &mut [PollFd::new(self.socket.get_ref(), PollFlags::IN)],
                None,
            );
        }
    }

    /// The next message, its payload in `payload`.
    fn next(&mut self, payload: &mut Vec<u8>) -> Result<Descriptor, ProtocolError> {
        let descriptor = protocol::read_descriptor(&mut self.socket)?;
        let length = descriptor.length as usize;
        if length > MAX_MESSAGE {
            return Err(ProtocolError::Invalid(format!("{length} bytes")));
        }
        payload.resize(length, 0);
        self.socket.read_exact(payload)?;
        Ok(descriptor)
    }

    fn parse(&self, mut payload: &[u8]) -> Option<Command> {
        // What this version does not know is nothing that it asked for.
        Command::read_tag_prefixed(&mut payload, self.version)
            .ok()
            .map(|(_, command)| command)
    }
}

/// Records from the source of this name. `take` is called with whole frames, on the stream's
/// thread.
///
/// # Errors
/// What the server answered when it could not be opened.
pub(super) fn record(
    source: &str,
    format: Format,
    health: Arc<Health>,
    mut take: impl FnMut(&[f32]) + Send + 'static,
) -> Result<Stream, DeviceError> {
    let fragment = format.bytes(format.buffer_frames);
    let params = RecordStreamParams {
        sample_spec: format.sample_spec(),
        channel_map: format.channel_map(),
        source_name: CString::new(source).ok(),
        buffer_attr: BufferAttr {
            // What is not fetched in time is lost rather than late.
            max_length: 8 * fragment,
            fragment_size: fragment,
            ..BufferAttr::default()
        },
        flags: StreamFlags {
            adjust_latency: true,
            ..StreamFlags::default()
        },
        ..RecordStreamParams::default()
    };
    let mut server = connect()?;
    let reply: CreateRecordStreamReply = server
        .ask(&Command::CreateRecordStream(params))
        .map_err(|error| refused(&error))?;
    start(server, health, move |server| {
        let mut payload = Vec::with_capacity(4 * fragment as usize);
        let mut samples = Vec::with_capacity(fragment as usize);
        loop {
            let descriptor = server.next(&mut payload)?;
            if descriptor.channel == reply.channel {
                samples.clear();
                let (words, _) = payload.as_chunks::<SAMPLE_BYTES>();
                samples.extend(words.iter().map(|it| f32::from_le_bytes(*it)));
                take(&samples);
            } else if let Some(Command::RecordStreamKilled(_)) = server.parse(&payload) {
                return Err(ProtocolError::ServerError(PulseError::Killed));
            }
        }
    })
}

/// Plays to the sink of this name. `give` is called to fill whole frames, on the stream's thread.
///
/// # Errors
/// What the server answered when it could not be opened.
pub(super) fn play(
    sink: &str,
    format: Format,
    health: Arc<Health>,
    mut give: impl FnMut(&mut [f32]) + Send + 'static,
) -> Result<Stream, DeviceError> {
    let period = format.bytes(format.buffer_frames);
    let mut margin = Margin::new(MARGIN_STEP_MS, MAX_MARGIN_MS, Instant::now());
    let params = PlaybackStreamParams {
        sample_spec: format.sample_spec(),
        channel_map: format.channel_map(),
        sink_name: CString::new(sink).ok(),
        buffer_attr: format.playback_buffer(margin.ms()),
        flags: StreamFlags {
            adjust_latency: true,
            ..StreamFlags::default()
        },
        ..PlaybackStreamParams::default()
    };
    let mut server = connect()?;
    let reply: CreatePlaybackStreamReply = server
        .ask(&Command::CreatePlaybackStream(params))
        .map_err(|error| refused(&error))?;
    let frame = usize::from(format.channels) * SAMPLE_BYTES;
    let mut samples = vec![0.0; period as usize / SAMPLE_BYTES];
    start(server, health, move |server| {
        let mut packet = Vec::with_capacity(DESCRIPTOR_SIZE + period as usize);
        let mut payload = Vec::with_capacity(1 << 10);
        let mut requested = reply.requested_bytes as usize;
        loop {
            while requested >= frame {
                let bytes = (requested / frame * frame).min(period as usize);
                let samples = &mut samples[..bytes / SAMPLE_BYTES];
                give(samples);
                fill_packet(&mut packet, reply.channel, samples);
                server.socket.get_mut().write_all(&packet)?;
                requested -= bytes;
            }
            server.wait_until_readable();
            server.next(&mut payload)?;
            let mut too_little = false;
            match server.parse(&payload) {
                Some(Command::Request(request)) if request.channel == reply.channel => {
                    requested += request.length as usize;
                }
                Some(Command::Underflow(underflow)) => {
                    too_little = underflow.channel == reply.channel;
                }
                Some(Command::PlaybackStreamKilled(_)) => {
                    return Err(ProtocolError::ServerError(PulseError::Killed));
                }
                _ => {}
            }
            let before = margin.ms();
            let now = margin.update(too_little, Instant::now());
            if now != before {
                tracing::debug!(now, "ms more in the sound server");
                let change = SetPlaybackStreamBufferAttrParams {
                    index: reply.channel,
                    buffer_attr: format.playback_buffer(now),
                    adjust_latency: true,
                    early_requests: false,
                };
                server.tell(&Command::SetPlaybackStreamBufferAttr(change))?;
            }
        }
    })
}

fn fill_packet(packet: &mut Vec<u8>, channel: u32, samples: &[f32]) {
    let mut head = [0; DESCRIPTOR_SIZE];
    let descriptor = Descriptor {
        length: (samples.len() * SAMPLE_BYTES) as u32,
        channel,
        offset: 0,
        flags: DescriptorFlags::empty(),
    };
    protocol::encode_descriptor(&mut head, &descriptor);
    packet.clear();
    packet.extend_from_slice(&head);
    packet.extend(samples.iter().flat_map(|it| it.to_le_bytes()));
}

fn connect() -> Result<Server, DeviceError> {
    Server::connect(CString::from(c"Ahoy")).map_err(|error| refused(&error))
}

/// Lets `work` run on a thread until the stream is dropped or breaks off.
fn start(
    mut server: Server,
    health: Arc<Health>,
    work: impl FnOnce(&mut Server) -> Result<(), ProtocolError> + Send + 'static,
) -> Result<Stream, DeviceError> {
    let failed = |error| DeviceError::new(DeviceProblem::Failed, error);
    let socket = server.wait_for_ever().map_err(failed)?;
    let work = move || {
        raise_current_thread();
        if let Err(error) = work(&mut server) {
            health.ended(&error);
        }
    };
    thread::Builder::new()
        .name("sound-server".to_owned())
        .spawn(work)
        .map_err(failed)?;
    Ok(Stream(socket))
}

impl Format {
    fn bytes(self, frames: u32) -> u32 {
        frames * u32::from(self.channels) * SAMPLE_BYTES as u32
    }

    /// What a server is to hold of what is played: what it asks for at once, a reserve until that
    /// has come, and a margin.
    fn playback_buffer(self, margin_ms: u32) -> BufferAttr {
        let ms = |ms: u32| self.bytes(self.rate / 1000 * ms);
        let period = self.bytes(self.buffer_frames);
        BufferAttr {
            max_length: 2 * (period + ms(RESERVE_MS + MAX_MARGIN_MS)),
            target_length: period + ms(RESERVE_MS + margin_ms),
            minimum_request_length: period,
            ..BufferAttr::default()
        }
    }

    const fn sample_spec(self) -> SampleSpec {
        SampleSpec {
            format: SampleFormat::Float32Le,
            channels: self.channels,
            sample_rate: self.rate,
        }
    }

    fn channel_map(self) -> ChannelMap {
        match self.channels {
            1 => ChannelMap::new([ChannelPosition::Mono]),
            _ => ChannelMap::new([ChannelPosition::FrontLeft, ChannelPosition::FrontRight]),
        }
    }
}

/// What can be done about an answer.
fn refused(error: &ProtocolError) -> DeviceError {
    let problem = match error {
        ProtocolError::ServerError(error) => match error {
            PulseError::AccessDenied | PulseError::AuthKey => DeviceProblem::Denied,
            PulseError::NoEntity | PulseError::InvalidServer => DeviceProblem::NotFound,
            PulseError::Busy => DeviceProblem::Busy,
            PulseError::NotSupported | PulseError::Invalid => DeviceProblem::Unsupported,
            PulseError::Killed | PulseError::ConnectionTerminated => DeviceProblem::Lost,
            _ => DeviceProblem::Failed,
        },
        ProtocolError::Io(error) if error.kind() == io::ErrorKind::NotFound => {
            DeviceProblem::NotFound
        }
        _ => DeviceProblem::Failed,
    };
    DeviceError::new(problem, error)
}
