//! Sound to Opus packets.

use std::ffi::c_int;
use std::time::Duration;

use bytes::Bytes;
use opusic_sys as sys;

use super::library::{self, Refused};
use super::pause::{Frame, Pause, loudest_part};
use super::{DTX_BYTES, FRAME_SAMPLES};
use ahoy_media::codec::CodecError;
use ahoy_media::frame::Copies;
use ahoy_media::units::Bitrate;

/// Least that is asked of the encoder; below, speech turns muffled.
pub const MIN_BITRATE: Bitrate = Bitrate::from_kbps(12);
/// Most that is asked of the encoder for a voice; above, mono speech gains nothing.
pub const MAX_VOICE_BITRATE: Bitrate = Bitrate::from_kbps(64);
/// Most that is asked of the encoder for stereo music; above, nobody hears a difference.
pub const MAX_MUSIC_BITRATE: Bitrate = Bitrate::from_kbps(192);
/// Longest deep redundancy that can be asked for (libopus: 104 frames of 10 ms).
pub const MAX_DRED: Duration = Duration::from_millis(1_040);

/// 0 to 10. Nine: a fifth of a millisecond per packet on a slow machine, and only from seven up
/// does the encoder tell speech from music, which it needs to stop sending in silence at every
/// bit rate.
const COMPLEXITY: i32 = 9;
/// Fits into a datagram on any usual route together with its headers, and is more than any
/// packet needs at our bit rates.
const MAX_ENCODED_BYTES: usize = 1_200;

/// What the header of a copy takes (RFC 2198 section 3) with 20 ms packets, bit/s.
const COPY_BITRATE: u64 = 4 * 8 * 50;

/// How much sound goes into a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum FrameLength {
    /// 20 ms (RFC 7587 section 3.1.2 recommends it).
    #[default]
    Ms20,
    /// 40 ms: half the headers, twice the wait, and twice as much gone with a packet.
    Ms40,
    /// 60 ms.
    Ms60,
}

impl FrameLength {
    /// Samples of 48 kHz.
    pub const fn samples(self) -> usize {
        match self {
            Self::Ms20 => FRAME_SAMPLES,
            Self::Ms40 => 2 * FRAME_SAMPLES,
            Self::Ms60 => 3 * FRAME_SAMPLES,
        }
    }

    /// How long it lasts.
    pub const fn duration(self) -> Duration {
        crate::duration_of(self.samples() as u64)
    }
}

/// The highest pitch that is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Bandwidth {
    /// All that can be heard, 20 kHz, as far as the bit rate allows.
    #[default]
    Full,
    /// 8 kHz: everything is in the part of the packet that in-band FEC repeats.
    Wide,
}

/// What the encoder is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Content {
    /// A voice: mono, tuned for speech, nothing sent in silence.
    #[default]
    Voice,
    /// Anything, as it is: stereo, full band, silence included.
    Music,
}

/// How sound is encoded and protected; all of it can be changed while encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncoderSettings {
    /// Everything included, copies too, kept within [`MIN_BITRATE`] and the most for the content.
    pub bitrate: Bitrate,
    /// Packets of a hundred that the encoder is told get lost. It decides how much of the bit
    /// rate goes into repair data: with 0 there is none, although it is switched on, and up to 5
    /// little.
    pub expected_loss: u8,
    /// In-band FEC: a coarse copy of the previous packet (RFC 6716 section 2.1.7).
    pub fec: bool,
    /// Deep redundancy of the last so many ms, in steps of 10 ms up to [`MAX_DRED`]
    /// (draft-ietf-mlcodec-opus-dred); zero switches it off. Only libopus 1.5 and later can read
    /// it; others skip it.
    pub dred: Duration,
    /// How much sound goes into a packet.
    pub frame_length: FrameLength,
    /// The highest pitch of a voice; music is always [`Full`](Bandwidth::Full).
    pub bandwidth: Bandwidth,
    /// Which packets of a voice go again with later ones. They share the bit rate.
    pub copies: Copies,
}

impl Default for EncoderSettings {
    /// Speech that is hard to tell from the original, with room for the repair data of the
    /// packet before, for while nothing else is known.
    fn default() -> Self {
        Self {
            bitrate: Bitrate::from_kbps(40),
            expected_loss: 10,
            fec: true,
            dred: Duration::ZERO,
            frame_length: FrameLength::Ms20,
            bandwidth: Bandwidth::Full,
            copies: Copies::NONE,
        }
    }
}

/// What became of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encoded {
    /// A packet to send.
    Packet(Bytes),
    /// Silence continues. The packet tells a receiver that silence begins; repeats of it need not
    /// be sent.
    Silence(Bytes),
}

/// Compresses 20, 40 or 60 ms at a time.
#[derive(Debug)]
pub struct OpusEncoder {
    encoder: library::Encoder,
    content: Content,
    settings: EncoderSettings,
    buffer: Box<[u8; MAX_ENCODED_BYTES]>,
    mono: Vec<f32>,
    pause: Pause,
    /// How the encoder said last that nothing need be sent.
    silence: Bytes,
}

impl OpusEncoder {
    /// An encoder with these settings.
    ///
    /// # Errors
    /// [`CodecError`] when the library refuses, which only happens without memory.
    pub fn new(content: Content, settings: EncoderSettings) -> Result<Self, CodecError> {
        let mut this = Self {
            encoder: prepared(content).map_err(setup_error)?,
            content,
            settings,
            buffer: Box::new([0; MAX_ENCODED_BYTES]),
            mono: Vec::with_capacity(FrameLength::Ms60.samples()),
            pause: Pause::default(),
            silence: Bytes::new(),
        };
        this.set(settings)?;
        Ok(this)
    }

    /// What is encoded.
    pub fn content(&self) -> Content {
        self.content
    }

    /// The settings as they were asked for.
    pub fn settings(&self) -> EncoderSettings {
        self.settings
    }

    /// Encodes something else from the next frame on, with the same settings.
    ///
    /// # Errors
    /// [`CodecError`] when the library refuses; it then goes on as before.
    pub fn set_content(&mut self, content: Content) -> Result<(), CodecError> {
        if content == self.content {
            return Ok(());
        }
        self.encoder = prepared(content).map_err(setup_error)?;
        self.content = content;
        self.pause = Pause::default();
        self.set(self.settings)
    }

    /// Changes how the next frames are encoded.
    ///
    /// # Errors
    /// [`CodecError`] when the library refuses.
    pub fn set(&mut self, settings: EncoderSettings) -> Result<(), CodecError> {
        let most = match self.content {
            Content::Voice => MAX_VOICE_BITRATE,
            Content::Music => MAX_MUSIC_BITRATE,
        };
        let times = copies_of(self.content, settings).times();
        let headers = (times - 1) * COPY_BITRATE;
        let once = settings.bitrate.bps().saturating_sub(headers) / times;
        let bitrate = Bitrate::from_bps(once).clamp(MIN_BITRATE, most);
        let dred_frames = settings.dred.min(MAX_DRED).as_millis() / 10;
        let frame_length = match settings.frame_length {
            FrameLength::Ms20 => sys::OPUS_FRAMESIZE_20_MS,
            FrameLength::Ms40 => sys::OPUS_FRAMESIZE_40_MS,
            FrameLength::Ms60 => sys::OPUS_FRAMESIZE_60_MS,
        };
        let bandwidth = match (self.content, settings.bandwidth) {
            (Content::Voice, Bandwidth::Wide) => sys::OPUS_BANDWIDTH_WIDEBAND,
            _ => sys::OPUS_BANDWIDTH_FULLBAND,
        };
        let requests: [(c_int, i32); 6] = [
            (sys::OPUS_SET_MAX_BANDWIDTH_REQUEST, bandwidth),
            (sys::OPUS_SET_BITRATE_REQUEST, bitrate.bps() as i32),
            (
                sys::OPUS_SET_PACKET_LOSS_PERC_REQUEST,
                settings.expected_loss.min(100).into(),
            ),
            (sys::OPUS_SET_INBAND_FEC_REQUEST, settings.fec.into()),
            (sys::OPUS_SET_DRED_DURATION_REQUEST, dred_frames as i32),
            (sys::OPUS_SET_EXPERT_FRAME_DURATION_REQUEST, frame_length),
        ];
        for (request, value) in requests {
            self.encoder.set(request, value).map_err(setup_error)?;
        }
        if settings.frame_length != self.settings.frame_length {
            // The packet that says so tells its length.
            self.pause = Pause::default();
        }
        self.settings = settings;
        Ok(())
    }

    /// Which earlier packets are to go again with the next one: none of music, whose packets are
    /// large.
    pub fn copies(&self) -> Copies {
        copies_of(self.content, self.settings)
    }

    /// Samples per channel that [`encode`](Self::encode) takes.
    pub fn frame_samples(&self) -> usize {
        self.settings.frame_length.samples()
    }

    /// Compresses [`frame_samples`](Self::frame_samples) pairs of left and right; of a voice,
    /// their mean.
    ///
    /// # Errors
    /// [`CodecError`] for another length, or when the library refuses; the next call may succeed.
    pub fn encode(&mut self, frame: &[[f32; 2]]) -> Result<Encoded, CodecError> {
        if frame.len() != self.frame_samples() {
            let length = frame.len();
            return Err(CodecError::Encode(format!("a frame of {length} samples")));
        }
        match self.content {
            Content::Voice => {
                self.mono.clear();
                let mean = |pair: &[f32; 2]| f32::midpoint(pair[0], pair[1]);
                self.mono.extend(frame.iter().map(mean));
                self.encode_voice()
            }
            Content::Music => {
                let packet = compress(&mut self.encoder, frame.as_flattened(), &mut *self.buffer)?;
                Ok(Encoded::Packet(packet))
            }
        }
    }

    /// Compresses `mono`, unless it belongs to a pause that goes on.
    fn encode_voice(&mut self) -> Result<Encoded, CodecError> {
        let loudest = loudest_part(&self.mono);
        // Deep redundancy counts the time by what the encoder has seen.
        let frame = if self.settings.dred.is_zero() {
            self.pause.judge(loudest, self.mono.len())
        } else {
            Frame::Unknown
        };
        if frame == Frame::Silence {
            return Ok(Encoded::Silence(self.silence.clone()));
        }
        if frame == Frame::Refresh {
            self.set_silence(true)?;
        }
        let packet = compress(&mut self.encoder, &self.mono, &mut *self.buffer);
        if frame == Frame::Refresh {
            self.set_silence(false)?;
        }
        let packet = packet?;
        let silence = packet.len() <= DTX_BYTES;
        if frame == Frame::Unknown {
            self.pause.encoded(loudest, silence);
        }
        Ok(if silence {
            self.silence = packet.clone();
            Encoded::Silence(packet)
        } else {
            Encoded::Packet(packet)
        })
    }

    /// Whether silence is encoded.
    fn set_silence(&mut self, encoded: bool) -> Result<(), CodecError> {
        self.encoder
            .set(sys::OPUS_SET_DTX_REQUEST, (!encoded).into())
            .map_err(setup_error)
    }
}

fn compress(
    encoder: &mut library::Encoder,
    samples: &[f32],
    buffer: &mut [u8],
) -> Result<Bytes, CodecError> {
    let length = encoder
        .encode(samples, buffer)
        .map_err(|error| CodecError::Encode(error.to_string()))?;
    Ok(Bytes::copy_from_slice(&buffer[..length]))
}

fn copies_of(content: Content, settings: EncoderSettings) -> Copies {
    match content {
        Content::Voice => settings.copies,
        Content::Music => Copies::NONE,
    }
}

fn prepared(content: Content) -> Result<library::Encoder, Refused> {
    let (channels, application, signal, dtx) = match content {
        Content::Voice => (1, sys::OPUS_APPLICATION_VOIP, sys::OPUS_SIGNAL_VOICE, 1),
        Content::Music => (2, sys::OPUS_APPLICATION_AUDIO, sys::OPUS_SIGNAL_MUSIC, 0),
    };
    let mut encoder = library::Encoder::new(channels, application)?;
    encoder.set(sys::OPUS_SET_COMPLEXITY_REQUEST, COMPLEXITY)?;
    encoder.set(sys::OPUS_SET_DTX_REQUEST, dtx)?;
    if content == Content::Music {
        encoder.set(sys::OPUS_SET_SIGNAL_REQUEST, signal)?;
    }
    Ok(encoder)
}

fn setup_error(error: Refused) -> CodecError {
    CodecError::Setup(error.to_string())
}
