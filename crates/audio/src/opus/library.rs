//! The calls into libopus: all the unsafe code there is for it. Values go in and out as slices;
//! what they mean is decided in the modules beside this one.
//!
//! The `opus` crate wraps most of this, but neither the complexity of the decoder, which switches
//! its neural concealment on, nor DRED; `opusic-c` has DRED only for the one frame that lies just
//! before a packet. Both keep their pointers to themselves, so that nothing can be added.

use std::ffi::{CStr, c_int};
use std::mem::MaybeUninit;
use std::ptr::NonNull;

use ahoy_media::units::AUDIO_CLOCK_HZ;
use opusic_sys as sys;

const RATE: i32 = AUDIO_CLOCK_HZ as i32;

/// What libopus answered instead of doing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused(c_int);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // SAFETY: returns a pointer to a static string, whatever the number.
        let text = unsafe { CStr::from_ptr(sys::opus_strerror(self.0)) };
        f.write_str(&text.to_string_lossy())
    }
}

/// The answers of libopus: negative is an error, anything else a length.
fn length(answer: c_int) -> Result<usize, Refused> {
    usize::try_from(answer).map_err(|_| Refused(answer))
}

/// No slice that Opus can use is longer than an `i32` holds.
fn size(length: usize) -> Result<i32, Refused> {
    i32::try_from(length).map_err(|_| Refused(sys::OPUS_BAD_ARG))
}

fn created<T>(pointer: *mut T, error: c_int) -> Result<NonNull<T>, Refused> {
    NonNull::new(pointer).ok_or(Refused(error))
}

/// An encoder for 48 kHz.
#[derive(Debug)]
pub(super) struct Encoder {
    state: NonNull<sys::OpusEncoder>,
    channels: usize,
}

// SAFETY: the state is one block of memory that is not tied to a thread; `&mut` keeps calls apart.
unsafe impl Send for Encoder {}

impl Encoder {
    /// For one or two channels; `application` is one of `OPUS_APPLICATION_…`.
    pub(super) fn new(channels: usize, application: c_int) -> Result<Self, Refused> {
        let mut error = sys::OPUS_OK;
        // SAFETY: `error` is valid for the call; wrong values are answered with an error.
        let state = unsafe {
            sys::opus_encoder_create(RATE, channels as c_int, application, &raw mut error)
        };
        let state = created(state, error)?;
        Ok(Self { state, channels })
    }

    /// Changes one of the settings that take a single number: `OPUS_SET_…_REQUEST`.
    pub(super) fn set(&mut self, request: c_int, value: i32) -> Result<(), Refused> {
        // SAFETY: the state lives as long as `self`; all requests that this module's users pass
        // take one `opus_int32`.
        let answer = unsafe { sys::opus_encoder_ctl(self.state.as_ptr(), request, value) };
        length(answer).map(|_| ())
    }

    /// Compresses interleaved samples to the front of `out` and returns its length.
    pub(super) fn encode(&mut self, samples: &[f32], out: &mut [u8]) -> Result<usize, Refused> {
        let frames = size(samples.len() / self.channels)?;
        let most = size(out.len())?;
        // SAFETY: `samples` holds `frames` times the channels, `out` `most` bytes.
        length(unsafe {
            sys::opus_encode_float(
                self.state.as_ptr(),
                samples.as_ptr(),
                frames,
                out.as_mut_ptr(),
                most,
            )
        })
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        // SAFETY: made by `opus_encoder_create`, used by nobody any more.
        unsafe { sys::opus_encoder_destroy(self.state.as_ptr()) };
    }
}

/// A decoder for 48 kHz stereo; mono streams come out on both channels.
#[derive(Debug)]
pub(super) struct Decoder {
    state: NonNull<sys::OpusDecoder>,
    /// A copy of what `state` was, if `remembered`.
    memory: Box<[MaybeUninit<u8>]>,
    remembered: bool,
}

// SAFETY: as for the encoder.
unsafe impl Send for Decoder {}

impl Decoder {
    pub(super) fn new() -> Result<Self, Refused> {
        let mut error = sys::OPUS_OK;
        // SAFETY: `error` is valid for the call.
        let state = unsafe { sys::opus_decoder_create(RATE, 2, &raw mut error) };
        let state = created(state, error)?;
        // SAFETY: reads nothing but the number of channels.
        let bytes = usize::try_from(unsafe { sys::opus_decoder_get_size(2) }).unwrap_or(0);
        Ok(Self {
            state,
            memory: Box::new_uninit_slice(bytes),
            remembered: false,
        })
    }

    /// Keeps what has been heard, for [`recall`](Self::recall).
    pub(super) fn remember(&mut self) {
        // SAFETY: the state is one block of so many bytes, and to copy them is to copy the decoder
        // (opus.h, "a shallow copy is sufficient"); the two blocks are apart.
        unsafe {
            self.state
                .cast::<MaybeUninit<u8>>()
                .copy_to_nonoverlapping(NonNull::from(&mut *self.memory).cast(), self.memory.len());
        }
        self.remembered = true;
    }

    /// Forgets what has been decoded or concealed since it was told to remember; once only.
    pub(super) fn recall(&mut self) {
        if std::mem::take(&mut self.remembered) {
            // SAFETY: as above, the other way round.
            unsafe {
                self.state
                    .cast::<MaybeUninit<u8>>()
                    .copy_from_nonoverlapping(
                        NonNull::from(&mut *self.memory).cast(),
                        self.memory.len(),
                    );
            }
        }
    }

    /// Changes one of the settings that take a single number: `OPUS_SET_…_REQUEST`.
    pub(super) fn set(&mut self, request: c_int, value: i32) -> Result<(), Refused> {
        // SAFETY: the state lives as long as `self`; all requests that this module's users pass
        // take one `opus_int32`.
        let answer = unsafe { sys::opus_decoder_ctl(self.state.as_ptr(), request, value) };
        length(answer).map(|_| ())
    }

    /// Forgets what was decoded.
    pub(super) fn reset(&mut self) {
        self.remembered = false;
        // SAFETY: the state lives as long as `self`; this request takes no argument.
        unsafe { sys::opus_decoder_ctl(self.state.as_ptr(), sys::OPUS_RESET_STATE) };
    }

    /// Decodes a packet, or with `fec` what it knows of the `out.len()` samples before it, or
    /// conceals `out.len()` samples when there is no packet.
    pub(super) fn decode(
        &mut self,
        packet: Option<&[u8]>,
        out: &mut [[f32; 2]],
        fec: bool,
    ) -> Result<usize, Refused> {
        let (data, bytes) = match packet {
            Some(packet) => (packet.as_ptr(), size(packet.len())?),
            None => (std::ptr::null(), 0),
        };
        let frames = size(out.len())?;
        // SAFETY: `data` holds `bytes`, `out` `frames` pairs; malformed packets are answered with
        // an error.
        length(unsafe {
            sys::opus_decode_float(
                self.state.as_ptr(),
                data,
                bytes,
                out.as_mut_ptr().cast(),
                frames,
                c_int::from(fec),
            )
        })
    }

    /// Makes the `out.len()` samples that begin `before` samples before the packet which `dred`
    /// was read from.
    pub(super) fn decode_dred(
        &mut self,
        dred: &Dred,
        before: usize,
        out: &mut [[f32; 2]],
    ) -> Result<usize, Refused> {
        let (before, frames) = (size(before)?, size(out.len())?);
        if !dred.parsed {
            return Err(Refused(sys::OPUS_BAD_ARG));
        }
        // SAFETY: `dred` was filled in by `parse`; both states live as long as their owners; `out` holds `frames` pairs.
        length(unsafe {
            sys::opus_decoder_dred_decode_float(
                self.state.as_ptr(),
                dred.data.as_ptr(),
                before,
                out.as_mut_ptr().cast(),
                frames,
            )
        })
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: made by `opus_decoder_create`, used by nobody any more.
        unsafe { sys::opus_decoder_destroy(self.state.as_ptr()) };
    }
}

/// The deep redundancy of one packet.
#[derive(Debug)]
pub(super) struct Dred {
    model: NonNull<sys::OpusDREDDecoder>,
    data: NonNull<sys::OpusDRED>,
    /// Before, `data` is not initialised.
    parsed: bool,
}

// SAFETY: as for the encoder.
unsafe impl Send for Dred {}

impl Dred {
    pub(super) fn new() -> Result<Self, Refused> {
        let mut error = sys::OPUS_OK;
        // SAFETY: `error` is valid for the calls.
        let model = created(
            unsafe { sys::opus_dred_decoder_create(&raw mut error) },
            error,
        )?;
        // SAFETY: as above.
        match created(unsafe { sys::opus_dred_alloc(&raw mut error) }, error) {
            Ok(data) => Ok(Self {
                model,
                data,
                parsed: false,
            }),
            Err(error) => {
                // SAFETY: made just above, used by nobody else.
                unsafe { sys::opus_dred_decoder_destroy(model.as_ptr()) };
                Err(error)
            }
        }
    }

    /// Reads the redundancy of a packet, at most `most` samples of it, and returns how many
    /// samples before the packet it covers: `start..end`, both counted backwards from the packet;
    /// `None` when it has none.
    pub(super) fn parse(
        &mut self,
        packet: &[u8],
        most: usize,
    ) -> Result<Option<(usize, usize)>, Refused> {
        self.read(packet, most, false)
    }

    /// How many samples before a packet its redundancy covers, at most `most`. What was parsed
    /// before is lost.
    pub(super) fn length(&mut self, packet: &[u8], most: usize) -> Result<usize, Refused> {
        let covered = self.read(packet, most, true)?;
        Ok(covered.map_or(0, |(start, _)| start))
    }

    fn read(
        &mut self,
        packet: &[u8],
        most: usize,
        only_length: bool,
    ) -> Result<Option<(usize, usize)>, Refused> {
        if packet.is_empty() {
            return Err(Refused(sys::OPUS_BAD_ARG));
        }
        let mut end = 0;
        self.parsed = !only_length;
        // SAFETY: both states live as long as `self`; the packet is not empty and holds its length; malformed data
        // is answered with an error.
        let start = length(unsafe {
            sys::opus_dred_parse(
                self.model.as_ptr(),
                self.data.as_ptr(),
                packet.as_ptr(),
                size(packet.len())?,
                size(most)?,
                RATE,
                &raw mut end,
                c_int::from(only_length),
            )
        })?;
        let end = usize::try_from(end).unwrap_or(0);
        Ok((start > end).then_some((start, end)))
    }
}

impl Drop for Dred {
    fn drop(&mut self) {
        // SAFETY: made by the library's own functions, used by nobody any more.
        unsafe {
            sys::opus_dred_free(self.data.as_ptr());
            sys::opus_dred_decoder_destroy(self.model.as_ptr());
        }
    }
}

/// Samples of 48 kHz in a packet.
pub(super) fn packet_samples(packet: &[u8]) -> Result<usize, Refused> {
    // SAFETY: the packet holds its length, of which the library reads no more than that.
    length(unsafe { sys::opus_packet_get_nb_samples(packet.as_ptr(), size(packet.len())?, RATE) })
}

/// Samples of 48 kHz in each frame of a packet, which is not empty.
pub(super) fn frame_samples(packet: &[u8; 1]) -> usize {
    // SAFETY: reads the first byte only.
    let samples = unsafe { sys::opus_packet_get_samples_per_frame(packet.as_ptr(), RATE) };
    usize::try_from(samples).unwrap_or(0)
}

/// Checks the lengths of the frames in a packet.
pub(super) fn check(packet: &[u8]) -> Result<(), Refused> {
    // RFC 6716 section 3.2.5: at most 48 frames.
    let mut sizes = [0_i16; 48];
    // SAFETY: the packet holds its length; the pointers that are null are optional; `sizes` has
    // room for as many frames as a packet can have.
    length(unsafe {
        sys::opus_packet_parse(
            packet.as_ptr(),
            size(packet.len())?,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            sizes.as_mut_ptr(),
            std::ptr::null_mut(),
        )
    })
    .map(|_| ())
}

/// Whether the first frame of a packet carries in-band FEC.
pub(super) fn has_fec(packet: &[u8]) -> bool {
    let Ok(bytes) = size(packet.len()) else {
        return false;
    };
    // SAFETY: the packet is not empty (checked first) and holds its length.
    bytes > 0 && unsafe { sys::opus_packet_has_lbrr(packet.as_ptr(), bytes) } == 1
}
