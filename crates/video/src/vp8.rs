//! VP8 (RFC 6386) by libvpx, in a thin safe wrapper. All `unsafe` code of the video path is here.
//!
//! Why an own wrapper: the crates on top of `vpx_sys` cannot force a key frame, change the bitrate
//! or choose the encoder's speed, and use eight threads that spin against each other.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::raw::{c_int, c_uint, c_ulong};
use std::ptr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use vpx_sys as vpx;

use crate::capture::MAX_SIDE;
use crate::vp8_header::Vp8FrameHeader;
use ahoy_media::codec::CodecError;
use ahoy_media::frame::{EncodedFrame, I420};
use ahoy_media::pool::FramePool;
use ahoy_media::units::{Bitrate, Resolution, VIDEO_CLOCK_HZ};

/// Encoder effort at 1280x720, `VP8E_SET_CPUUSED`: from -1, slowest, to -16. Negative values fix the
/// speed; positive ones let libvpx slow down until it has used up the time, at full CPU load.
/// -12 by measurement (`cargo bench -p ahoy-video --bench vp8`): half the time of -4 for 0.2 dB on a
/// face and 1.6 dB on moving texture; -16 saves another tenth and loses 5 dB more on the latter.
pub const DEFAULT_CPU_USED: i32 = -12;
/// Sizes below which each picture is given more effort, in pixels, and how much more: it still takes
/// less time than one of 1280x720, and pictures are small where each bit counts. Measured as above:
/// 0.7 dB at 640x360 and 250 kbit/s, 1.4 to 3 dB at 320x180 and 100 kbit/s.
const MORE_EFFORT: [(u64, i32); 3] = [(320 * 180, 10), (640 * 360, 8), (960 * 540, 4)];

/// Share of the buffer below which frames are dropped, in percent. Dropping early keeps a
/// sudden change of scene from filling the network's queue.
const DROP_FRAME_THRESHOLD: c_uint = 30;
/// Quantizer range, 0 to 63. Below 2 bits buy nothing visible; above 56 the picture is mush, and
/// dropping frames is the better way to save.
const QUANTIZER_RANGE: (c_uint, c_uint) = (2, 56);
/// The model of the receiver's buffer, in ms of the target bitrate: size, fill at the start, and
/// fill that is aimed at.
const BUFFER_MS: (c_uint, c_uint, c_uint) = (1000, 500, 600);
/// How far a frame may stray from its share of the bitrate, in percent below and above.
const STRAY_PERCENT: (c_uint, c_uint) = (100, 15);
/// Least room for a key frame, in percent of an average frame.
const MIN_INTRA_PERCENT: u32 = 300;

/// Effort for pictures of this size where those of 1280x720 get `at_hd`: the smaller, the more.
pub fn cpu_used_for(resolution: Resolution, at_hd: i32) -> i32 {
    let more = MORE_EFFORT
        .iter()
        .find(|(pixels, _)| resolution.pixels() <= *pixels)
        .map_or(0, |(_, more)| *more);
    at_hd.saturating_add(more).min(-1)
}

/// How a [`Vp8Encoder`] is to work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vp8EncoderConfig {
    /// Size of the first pictures; it changes with them.
    pub resolution: Resolution,
    /// Target of the constant-bitrate control.
    pub bitrate: Bitrate,
    /// Expected frames per second; the timestamps decide in the end.
    pub frame_rate: u32,
    /// Effort, see [`DEFAULT_CPU_USED`].
    pub cpu_used: i32,
    /// Whether the entropy coding of a frame does without what earlier frames taught it
    /// (`VPX_ERROR_RESILIENT_DEFAULT`). Off: after a lost frame the pictures that refer to it are
    /// wrong in any case, so no frame after a gap is handed to a decoder, ours or the window's
    /// (which closes for good on one), and the independence would only cost picture: 0.1 dB at
    /// 250 kbit/s.
    pub error_resilient: bool,
}

impl Vp8EncoderConfig {
    /// The configuration for a call.
    pub const fn new(resolution: Resolution, bitrate: Bitrate, frame_rate: u32) -> Self {
        Self {
            resolution,
            bitrate,
            frame_rate,
            cpu_used: DEFAULT_CPU_USED,
            error_resilient: false,
        }
    }
}

/// Compresses pictures in real time, on the calling thread.
///
/// One thread per encoder: with two, libvpx's wait spinning on each other and collapse when
/// other programs need the cores.
pub struct Vp8Encoder {
    context: Context,
    settings: vpx::vpx_codec_enc_cfg_t,
    config: Vp8EncoderConfig,
    /// Largest size this libvpx instance can take.
    allocated: Resolution,
    pts: i64,
    last_timestamp: Option<u32>,
}

impl Vp8Encoder {
    /// Sets up an encoder.
    ///
    /// # Errors
    /// [`CodecError::Setup`] when libvpx refuses, as for sides of 0 or more than 4096.
    pub fn new(config: Vp8EncoderConfig) -> Result<Self, CodecError> {
        let settings = settings(&config)?;
        let context = Context::encoder(&settings, &config)?;
        Ok(Self {
            context,
            settings,
            config,
            allocated: config.resolution,
            pts: 0,
            last_timestamp: None,
        })
    }

    /// Compresses one picture. `rtp_timestamp` counts 90 kHz, wraps, and has to grow from frame
    /// to frame. `None` when the rate control drops the frame. A picture of another size than
    /// the last one becomes a key frame.
    ///
    /// # Errors
    /// [`CodecError::Setup`] when the size is impossible, [`CodecError::Encode`] when libvpx fails.
    pub fn encode(
        &mut self,
        picture: &I420,
        rtp_timestamp: u32,
        captured_at: Instant,
        force_key_frame: bool,
    ) -> Result<Option<EncodedFrame>, CodecError> {
        if picture.resolution() != self.config.resolution {
            self.resize(picture.resolution())?;
        }
        self.advance(rtp_timestamp);
        self.context
            .encode(picture, self.pts, self.frame_duration(), force_key_frame)?;
        let Some((data, key_frame)) = self.context.packet() else {
            return Ok(None);
        };
        Ok(Some(EncodedFrame {
            data,
            key_frame,
            rtp_timestamp,
            captured_at,
            resolution: self.config.resolution,
        }))
    }

    /// Changes the target bitrate from the next frame on.
    ///
    /// # Errors
    /// [`CodecError::Setup`] when libvpx refuses; the old value stays.
    pub fn set_bitrate(&mut self, bitrate: Bitrate) -> Result<(), CodecError> {
        self.reconfigure(Vp8EncoderConfig {
            bitrate,
            ..self.config
        })
    }

    /// Changes the expected frame rate.
    ///
    /// # Errors
    /// [`CodecError::Setup`] when libvpx refuses; the old value stays.
    pub fn set_frame_rate(&mut self, frame_rate: u32) -> Result<(), CodecError> {
        self.reconfigure(Vp8EncoderConfig {
            frame_rate,
            ..self.config
        })
    }

    /// Changes the effort, see [`DEFAULT_CPU_USED`].
    ///
    /// # Errors
    /// [`CodecError::Setup`] when libvpx refuses; the old value stays.
    pub fn set_cpu_used(&mut self, cpu_used: i32) -> Result<(), CodecError> {
        if cpu_used != self.config.cpu_used {
            let control = vpx::vp8e_enc_control_id::VP8E_SET_CPUUSED;
            self.context.set(control, cpu_used)?;
            self.config.cpu_used = cpu_used;
        }
        Ok(())
    }

    /// The configuration in use.
    pub fn config(&self) -> Vp8EncoderConfig {
        self.config
    }

    /// Quantizer index of the last frame, 0 to 127 (what webrtc-stats sums up as `qpSum`).
    pub fn last_quantizer(&mut self) -> u32 {
        self.context
            .quantizer(vpx::vp8e_enc_control_id::VP8E_GET_LAST_QUANTIZER as c_int)
    }

    fn resize(&mut self, resolution: Resolution) -> Result<(), CodecError> {
        let config = Vp8EncoderConfig {
            resolution,
            ..self.config
        };
        let room =
            resolution.width <= self.allocated.width && resolution.height <= self.allocated.height;
        if room {
            return self.reconfigure(config);
        }
        // libvpx cannot grow beyond the size that it began with.
        let fresh = Self::new(config)?;
        *self = Self {
            pts: self.pts,
            last_timestamp: self.last_timestamp,
            ..fresh
        };
        Ok(())
    }

    fn reconfigure(&mut self, config: Vp8EncoderConfig) -> Result<(), CodecError> {
        if config == self.config {
            return Ok(());
        }
        let settings = settings(&config)?;
        self.context.configure(&settings)?;
        self.context.limit_key_frames(&config)?;
        self.settings = settings;
        self.config = config;
        Ok(())
    }

    /// Time stands for 90 kHz ticks here, always growing, whatever the caller's timestamps do.
    fn advance(&mut self, rtp_timestamp: u32) {
        let step = match self.last_timestamp {
            Some(last) => rtp_timestamp.wrapping_sub(last).cast_signed(),
            None => 1,
        };
        // A jump of more than a second is a pause or a mistake; libvpx would take it for a frame
        // rate near zero and spend the bits of the whole pause on one frame.
        self.pts += i64::from(step.clamp(1, VIDEO_CLOCK_HZ.cast_signed()));
        self.last_timestamp = Some(rtp_timestamp);
    }

    fn frame_duration(&self) -> c_ulong {
        c_ulong::from(VIDEO_CLOCK_HZ / self.config.frame_rate.max(1))
    }
}

/// Decompresses pictures, on the calling thread.
pub struct Vp8Decoder {
    context: Option<Context>,
    pool: FramePool,
}

impl Default for Vp8Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Vp8Decoder {
    /// A decoder that waits for its first key frame.
    pub const fn new() -> Self {
        Self {
            context: None,
            pool: FramePool::new(),
        }
    }

    /// Decompresses one complete frame. `None` for a frame that is not to be shown.
    ///
    /// # Errors
    /// [`CodecError::Decode`] for damaged data, or a picture with a side of 0 or more than 4096;
    /// [`CodecError::KeyFrameNeeded`] from then on until a key frame comes.
    pub fn decode(&mut self, data: &[u8]) -> Result<Option<Arc<I420>>, CodecError> {
        let header = Vp8FrameHeader::parse(data)
            .ok_or_else(|| CodecError::Decode("the frame header is damaged".to_owned()))
            .inspect_err(|_| self.context = None)?;
        if self.context.is_none() {
            if header == Vp8FrameHeader::Delta {
                return Err(CodecError::KeyFrameNeeded);
            }
            self.context = Some(Context::decoder()?);
        }
        let Some(context) = &mut self.context else {
            return Err(CodecError::KeyFrameNeeded);
        };
        let result = context
            .decode(data)
            .and_then(|()| context.picture(&mut self.pool));
        if result.is_err() {
            // What libvpx remembers of a damaged frame would spoil the following ones.
            self.context = None;
        }
        result
    }

    /// Whether only a key frame can be decoded next.
    pub fn needs_key_frame(&self) -> bool {
        self.context.is_none()
    }

    /// Quantizer index of the last frame, 0 to 127; 0 before the first.
    pub fn last_quantizer(&mut self) -> u32 {
        self.context.as_mut().map_or(0, |context| {
            context.quantizer(vpx::vp8_dec_control_id::VPXD_GET_LAST_QUANTIZER as c_int)
        })
    }
}

/// libvpx's settings for `config`.
fn settings(config: &Vp8EncoderConfig) -> Result<vpx::vpx_codec_enc_cfg_t, CodecError> {
    let sides = 1..=MAX_SIDE;
    let Resolution { width, height } = config.resolution;
    if !sides.contains(&width) || !sides.contains(&height) {
        return Err(CodecError::Setup(format!(
            "a picture of {width}x{height} is not possible"
        )));
    }
    let mut settings = MaybeUninit::zeroed();
    // SAFETY: the interface pointer comes from libvpx, and `settings` has room for the structure.
    let result = unsafe {
        vpx::vpx_codec_enc_config_default(vpx::vpx_codec_vp8_cx(), settings.as_mut_ptr(), 0)
    };
    check(result, CodecError::Setup)?;
    // SAFETY: libvpx reported success, so it has written the whole structure.
    let mut settings: vpx::vpx_codec_enc_cfg_t = unsafe { settings.assume_init() };
    settings.g_w = width;
    settings.g_h = height;
    settings.g_timebase.num = 1;
    settings.g_timebase.den = VIDEO_CLOCK_HZ.cast_signed();
    settings.g_threads = 1;
    settings.g_pass = vpx::vpx_enc_pass::VPX_RC_ONE_PASS;
    settings.g_lag_in_frames = 0;
    settings.g_error_resilient = if config.error_resilient {
        vpx::VPX_ERROR_RESILIENT_DEFAULT
    } else {
        0
    };
    settings.rc_end_usage = vpx::vpx_rc_mode::VPX_CBR;
    settings.rc_target_bitrate = u32::try_from(config.bitrate.kbps())
        .unwrap_or(u32::MAX)
        .max(1);
    settings.rc_dropframe_thresh = DROP_FRAME_THRESHOLD;
    settings.rc_resize_allowed = 0;
    (settings.rc_min_quantizer, settings.rc_max_quantizer) = QUANTIZER_RANGE;
    (settings.rc_undershoot_pct, settings.rc_overshoot_pct) = STRAY_PERCENT;
    (
        settings.rc_buf_sz,
        settings.rc_buf_initial_sz,
        settings.rc_buf_optimal_sz,
    ) = BUFFER_MS;
    // Key frames come when somebody asks, or when the scene changes: never by the clock.
    settings.kf_mode = vpx::vpx_kf_mode::VPX_KF_AUTO;
    settings.kf_max_dist = 1 << 30;
    Ok(settings)
}

/// Most bits for a key frame, in percent of an average frame: half of the buffer that is aimed
/// at, so that a key frame takes at most 300 ms of the line.
fn max_intra_percent(config: &Vp8EncoderConfig) -> u32 {
    (BUFFER_MS.2 / 2 * config.frame_rate / 10).max(MIN_INTRA_PERCENT)
}

/// A libvpx codec instance, destroyed when dropped.
struct Context(Box<vpx::vpx_codec_ctx_t>);

// SAFETY: a libvpx instance is not tied to the thread that made it, and `&mut self` everywhere
// keeps two threads from using it at the same time.
unsafe impl Send for Context {}

impl Context {
    fn encoder(
        settings: &vpx::vpx_codec_enc_cfg_t,
        config: &Vp8EncoderConfig,
    ) -> Result<Self, CodecError> {
        let mut raw = Self::raw();
        // SAFETY: `raw` and `settings` are valid for the call, libvpx copies the settings, and the
        // version is that of the bindings in use.
        let result = unsafe {
            vpx::vpx_codec_enc_init_ver(
                raw.as_mut(),
                vpx::vpx_codec_vp8_cx(),
                settings,
                0,
                vpx::VPX_ENCODER_ABI_VERSION.cast_signed(),
            )
        };
        check(result, CodecError::Setup)?;
        let mut context = Self(raw);
        context.set(vpx::vp8e_enc_control_id::VP8E_SET_CPUUSED, config.cpu_used)?;
        // Blocks that hardly change are not coded again: camera noise costs nothing.
        context.set(vpx::vp8e_enc_control_id::VP8E_SET_STATIC_THRESHOLD, 1)?;
        context.set(vpx::vp8e_enc_control_id::VP8E_SET_TOKEN_PARTITIONS, 0)?;
        context.limit_key_frames(config)?;
        Ok(context)
    }

    fn decoder() -> Result<Self, CodecError> {
        let mut raw = Self::raw();
        let settings = vpx::vpx_codec_dec_cfg_t {
            threads: 1,
            w: 0,
            h: 0,
        };
        // SAFETY: as for the encoder.
        let result = unsafe {
            vpx::vpx_codec_dec_init_ver(
                raw.as_mut(),
                vpx::vpx_codec_vp8_dx(),
                &settings,
                0,
                vpx::VPX_DECODER_ABI_VERSION.cast_signed(),
            )
        };
        check(result, CodecError::Setup)?;
        Ok(Self(raw))
    }

    fn raw() -> Box<vpx::vpx_codec_ctx_t> {
        // SAFETY: every field of the structure is a number, a pointer, or an enumeration with a
        // variant 0; libvpx's own initialisation clears it as well.
        Box::new(unsafe { MaybeUninit::zeroed().assume_init() })
    }

    fn configure(&mut self, settings: &vpx::vpx_codec_enc_cfg_t) -> Result<(), CodecError> {
        // SAFETY: the instance is a live encoder; libvpx copies the settings.
        let result = unsafe { vpx::vpx_codec_enc_config_set(self.0.as_mut(), settings) };
        self.check(result, CodecError::Setup)
    }

    fn limit_key_frames(&mut self, config: &Vp8EncoderConfig) -> Result<(), CodecError> {
        self.set(
            vpx::vp8e_enc_control_id::VP8E_SET_MAX_INTRA_BITRATE_PCT,
            max_intra_percent(config).cast_signed(),
        )
    }

    fn set(&mut self, control: vpx::vp8e_enc_control_id, value: c_int) -> Result<(), CodecError> {
        // SAFETY: the instance is a live encoder, and every control used here takes one `int` or
        // `unsigned int`, which are passed alike.
        let result = unsafe { vpx::vpx_codec_control_(self.0.as_mut(), control as c_int, value) };
        self.check(result, CodecError::Setup)
    }

    fn quantizer(&mut self, control: c_int) -> u32 {
        let mut value: c_int = 0;
        // SAFETY: the instance is live, and the control writes one `int` through the pointer.
        let result = unsafe { vpx::vpx_codec_control_(self.0.as_mut(), control, &raw mut value) };
        match result {
            vpx::VPX_CODEC_OK => u32::try_from(value).unwrap_or(0),
            _ => 0,
        }
    }

    fn encode(
        &mut self,
        picture: &I420,
        pts: i64,
        duration: c_ulong,
        force_key_frame: bool,
    ) -> Result<(), CodecError> {
        let image = image(picture);
        let flags = if force_key_frame {
            i64::from(vpx::VPX_EFLAG_FORCE_KF)
        } else {
            0
        };
        // SAFETY: the instance is a live encoder. `image` describes planes that outlive the call;
        // libvpx copies them into its own buffer and never writes to them.
        let result = unsafe {
            vpx::vpx_codec_encode(
                self.0.as_mut(),
                &image,
                pts,
                duration,
                flags as vpx::vpx_enc_frame_flags_t,
                c_ulong::from(vpx::VPX_DL_REALTIME),
            )
        };
        self.check(result, CodecError::Encode)
    }

    /// The frame that the last call of `encode` gave, and whether it is a key frame.
    fn packet(&mut self) -> Option<(Bytes, bool)> {
        let mut iter = ptr::null();
        let mut found = None;
        loop {
            // SAFETY: the instance is a live encoder and `iter` began as null.
            let packet = unsafe { vpx::vpx_codec_get_cx_data(self.0.as_mut(), &mut iter) };
            // SAFETY: libvpx returns null or a packet that stays valid until the next call on
            // the instance.
            let Some(packet) = (unsafe { packet.as_ref() }) else {
                return found;
            };
            if packet.kind != vpx::vpx_codec_cx_pkt_kind::VPX_CODEC_CX_FRAME_PKT {
                continue;
            }
            // SAFETY: this is the union's variant for packets of this kind, and its buffer has
            // that many bytes.
            let (data, flags) = unsafe {
                let frame = &packet.data.frame;
                let data = std::slice::from_raw_parts(frame.buf.cast::<u8>(), frame.sz as usize);
                (Bytes::copy_from_slice(data), frame.flags)
            };
            found = Some((data, flags & vpx::VPX_FRAME_IS_KEY != 0));
        }
    }

    fn decode(&mut self, data: &[u8]) -> Result<(), CodecError> {
        let length = c_uint::try_from(data.len())
            .map_err(|_| CodecError::Decode("the frame is too long".to_owned()))?;
        // SAFETY: the instance is a live decoder, and the slice outlives the call.
        let result = unsafe {
            vpx::vpx_codec_decode(self.0.as_mut(), data.as_ptr(), length, ptr::null_mut(), 0)
        };
        self.check(result, CodecError::Decode)?;
        let mut corrupted: c_int = 0;
        let control = vpx::vp8_dec_control_id::VP8D_GET_FRAME_CORRUPTED as c_int;
        // SAFETY: the instance is live, and the control writes one `int` through the pointer.
        let result =
            unsafe { vpx::vpx_codec_control_(self.0.as_mut(), control, &raw mut corrupted) };
        self.check(result, CodecError::Decode)?;
        if corrupted == 0 {
            Ok(())
        } else {
            Err(CodecError::Decode("the frame is incomplete".to_owned()))
        }
    }

    /// Copies out the picture that the last call of `decode` gave.
    fn picture(&mut self, pool: &mut FramePool) -> Result<Option<Arc<I420>>, CodecError> {
        let mut iter = ptr::null();
        let mut newest = None;
        loop {
            // SAFETY: the instance is a live decoder and `iter` began as null.
            let image = unsafe { vpx::vpx_codec_get_frame(self.0.as_mut(), &mut iter) };
            // SAFETY: libvpx returns null or an image that stays valid until the next decode.
            let Some(image) = (unsafe { image.as_ref() }) else {
                break;
            };
            newest = Some(image);
        }
        let Some(image) = newest else {
            return Ok(None);
        };
        let resolution = Resolution::new(image.d_w, image.d_h);
        if image.fmt != vpx::vpx_img_fmt::VPX_IMG_FMT_I420
            || resolution.width > MAX_SIDE
            || resolution.height > MAX_SIDE
        {
            return Err(CodecError::Decode(format!(
                "a picture of {resolution} is not possible"
            )));
        }
        pool.fill(resolution, |target| copy_planes(image, target))
            .map(Some)
    }

    fn check(
        &mut self,
        result: vpx::vpx_codec_err_t,
        kind: fn(String) -> CodecError,
    ) -> Result<(), CodecError> {
        if result == vpx::VPX_CODEC_OK {
            return Ok(());
        }
        // SAFETY: the instance is live; the detail is null or a text that libvpx owns.
        let detail = unsafe { text(vpx::vpx_codec_error_detail(self.0.as_mut())) };
        check(result, kind).map_err(|error| match detail {
            Some(detail) => kind(detail),
            None => error,
        })
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: the instance was initialised with success and is not used afterwards.
        unsafe { vpx::vpx_codec_destroy(self.0.as_mut()) };
    }
}

fn check(result: vpx::vpx_codec_err_t, kind: fn(String) -> CodecError) -> Result<(), CodecError> {
    if result == vpx::VPX_CODEC_OK {
        return Ok(());
    }
    // SAFETY: libvpx returns a constant text for every code.
    let words = unsafe { text(vpx::vpx_codec_err_to_string(result)) };
    Err(kind(words.unwrap_or_else(|| format!("{result:?}"))))
}

/// # Safety
/// `text` has to be null or a text that ends with a zero.
unsafe fn text(text: *const std::os::raw::c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: by the contract of this function.
    Some(
        unsafe { CStr::from_ptr(text) }
            .to_string_lossy()
            .into_owned(),
    )
}

/// libvpx's description of our planes, without a copy.
fn image(picture: &I420) -> vpx::vpx_image_t {
    let Resolution { width, height } = picture.resolution();
    let (y, u, v) = picture.planes();
    let chroma_stride = c_int::try_from(picture.chroma_width()).unwrap_or(c_int::MAX);
    // SAFETY: every field is a number, a pointer, or an enumeration with a variant 0.
    let mut image: vpx::vpx_image_t = unsafe { MaybeUninit::zeroed().assume_init() };
    image.fmt = vpx::vpx_img_fmt::VPX_IMG_FMT_I420;
    image.cs = vpx::vpx_color_space::VPX_CS_BT_601;
    image.bit_depth = 8;
    (image.w, image.h) = (width, height);
    (image.d_w, image.d_h) = (width, height);
    (image.x_chroma_shift, image.y_chroma_shift) = (1, 1);
    image.bps = 12;
    image.planes = [
        y.as_ptr().cast_mut(),
        u.as_ptr().cast_mut(),
        v.as_ptr().cast_mut(),
        ptr::null_mut(),
    ];
    image.stride = [width.cast_signed(), chroma_stride, chroma_stride, 0];
    image
}

fn copy_planes(image: &vpx::vpx_image_t, target: &mut I420) -> Result<(), CodecError> {
    let width = target.resolution().width as usize;
    let chroma_width = target.chroma_width();
    let (y, u, v) = target.planes_mut();
    for (index, (plane, width)) in [(y, width), (u, chroma_width), (v, chroma_width)]
        .into_iter()
        .enumerate()
    {
        let source = image.planes[index].cast_const();
        let stride = usize::try_from(image.stride[index]).unwrap_or(0);
        if source.is_null() || stride < width || width == 0 {
            return Err(CodecError::Decode("libvpx gave no picture".to_owned()));
        }
        for (row, line) in plane.chunks_exact_mut(width).enumerate() {
            // SAFETY: libvpx's plane has at least as many rows as the picture is high (half of
            // it, rounded up, for chroma), each `stride` bytes apart and `width` bytes long.
            let from = unsafe { std::slice::from_raw_parts(source.add(row * stride), width) };
            line.copy_from_slice(from);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
