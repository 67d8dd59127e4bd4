//! What cameras deliver into I420, BT.601 limited range.

use yuv::{
    BufferStoreMut, YuvConversionMode, YuvPackedImage, YuvPlanarImageMut, YuvRange,
    YuvStandardMatrix,
};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::MAX_SIDE;
use super::mode::PixelFormat;
use ahoy_media::frame::I420;
use ahoy_media::units::Resolution;

/// A picture that cannot be used; the next one may be better.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    /// Fewer bytes than the size needs.
    #[error("a picture of {have} bytes came where {need} are needed")]
    TooShort {
        /// Bytes that came.
        have: usize,
        /// Bytes for a picture of the agreed size.
        need: usize,
    },
    /// The JPEG data is damaged.
    #[error("a damaged JPEG picture: {0}")]
    Jpeg(String),
    /// The JPEG has another size than agreed.
    #[error("a JPEG picture of another size: {0}")]
    Size(Resolution),
    /// The conversion library refused.
    #[error("cannot convert the picture: {0}")]
    Failed(String),
}

/// Converts pictures; keeps its buffer between them.
#[derive(Debug, Default)]
pub struct Converter {
    rgb: Vec<u8>,
}

impl Converter {
    /// A converter.
    pub const fn new() -> Self {
        Self { rgb: Vec::new() }
    }

    /// Converts `data`, whose rows are `stride` bytes apart (0: no padding between them), into
    /// `target`. Bytes behind the picture are ignored.
    ///
    /// # Errors
    /// See [`ConvertError`]; `target` may be half written then.
    pub fn convert(
        &mut self,
        pixels: PixelFormat,
        stride: u32,
        data: &[u8],
        target: &mut I420,
    ) -> Result<(), ConvertError> {
        match pixels {
            PixelFormat::Yuyv => yuyv(data, stride, target),
            PixelFormat::Nv12 => nv12(data, stride, target),
            PixelFormat::Rgb => rgb(data, stride, target),
            PixelFormat::Bgr => bgr(data, stride, target),
            PixelFormat::Gray => gray(data, stride, target),
            PixelFormat::Mjpeg => self.mjpeg(data, target),
        }
    }

    fn mjpeg(&mut self, data: &[u8], target: &mut I420) -> Result<(), ConvertError> {
        let jpeg = |error: &dyn std::fmt::Display| ConvertError::Jpeg(error.to_string());
        let end = jpeg_end(data).ok_or_else(|| jpeg(&"its end is missing"))?;
        let options = DecoderOptions::default()
            .set_max_width(MAX_SIDE as usize)
            .set_max_height(MAX_SIDE as usize)
            .jpeg_set_out_colorspace(ColorSpace::RGB);
        let mut decoder = JpegDecoder::new_with_options(ZCursor::new(&data[..end]), options);
        decoder.decode_headers().map_err(|error| jpeg(&error))?;
        let (width, height) = decoder
            .info()
            .map(|info| (u32::from(info.width), u32::from(info.height)))
            .ok_or_else(|| jpeg(&"it has no header"))?;
        let resolution = Resolution::new(width, height);
        if resolution != target.resolution() {
            return Err(ConvertError::Size(resolution));
        }
        self.rgb.resize(resolution.pixels() as usize * 3, 0);
        decoder
            .decode_into(&mut self.rgb)
            .map_err(|error| jpeg(&error))?;
        rgb(&self.rgb, 0, target)
    }
}

/// Length of the JPEG at the beginning of `data`: to the end-of-image marker behind the first
/// scan. Capture buffers are as long as the longest picture, with old bytes behind.
pub fn jpeg_end(data: &[u8]) -> Option<usize> {
    let mut at = data.starts_with(&[0xff, 0xd8]).then_some(2)?;
    loop {
        let &[0xff, marker, high, low] = data.get(at..at + 4)? else {
            return None;
        };
        match marker {
            // A fill byte before a marker.
            0xff => at += 1,
            // Start of scan: coded data follows, in which 0xff 0xd9 only is the end.
            0xda => break,
            _ => at += 2 + usize::from(u16::from_be_bytes([high, low])).max(2),
        }
    }
    let scan = data.get(at + 4..)?;
    let end = scan.windows(2).position(|pair| pair == [0xff, 0xd9])?;
    Some(at + 4 + end + 2)
}

fn yuyv(data: &[u8], stride: u32, target: &mut I420) -> Result<(), ConvertError> {
    let Resolution { width, height } = target.resolution();
    let stride = stride.max(width.next_multiple_of(2) * 2);
    let data = enough(data, stride as usize * height as usize)?;
    let packed = YuvPackedImage {
        yuy: data,
        yuy_stride: stride,
        width,
        height,
    };
    yuv::yuyv422_to_yuv420(&mut planar(target), &packed).map_err(failed)
}

fn rgb(data: &[u8], stride: u32, target: &mut I420) -> Result<(), ConvertError> {
    let (data, stride) = three_bytes(data, stride, target.resolution())?;
    yuv::rgb_to_yuv420(
        &mut planar(target),
        data,
        stride,
        YuvRange::Limited,
        YuvStandardMatrix::Bt601,
        YuvConversionMode::Balanced,
    )
    .map_err(failed)
}

fn bgr(data: &[u8], stride: u32, target: &mut I420) -> Result<(), ConvertError> {
    let (data, stride) = three_bytes(data, stride, target.resolution())?;
    yuv::bgr_to_yuv420(
        &mut planar(target),
        data,
        stride,
        YuvRange::Limited,
        YuvStandardMatrix::Bt601,
        YuvConversionMode::Balanced,
    )
    .map_err(failed)
}

fn three_bytes(data: &[u8], stride: u32, size: Resolution) -> Result<(&[u8], u32), ConvertError> {
    let stride = stride.max(size.width * 3);
    let data = enough(data, stride as usize * size.height as usize)?;
    Ok((data, stride))
}

fn nv12(data: &[u8], stride: u32, target: &mut I420) -> Result<(), ConvertError> {
    let Resolution { width, height } = target.resolution();
    let (width, height) = (width as usize, height as usize);
    let chroma_width = target.chroma_width();
    let stride = (stride as usize).max(chroma_width * 2);
    let data = enough(data, stride * (height + target.chroma_height()))?;
    let (luma, chroma) = data.split_at(stride * height);
    let (y, u, v) = target.planes_mut();
    copy_rows(luma, stride, y, width);
    let rows = chroma.chunks_exact(stride);
    let targets = u
        .chunks_exact_mut(chroma_width)
        .zip(v.chunks_exact_mut(chroma_width));
    for (row, (u, v)) in rows.zip(targets) {
        for (pair, (u, v)) in row.chunks_exact(2).zip(u.iter_mut().zip(v)) {
            (*u, *v) = (pair[0], pair[1]);
        }
    }
    Ok(())
}

fn gray(data: &[u8], stride: u32, target: &mut I420) -> Result<(), ConvertError> {
    let Resolution { width, height } = target.resolution();
    let stride = (stride as usize).max(width as usize);
    let data = enough(data, stride * height as usize)?;
    let (y, u, v) = target.planes_mut();
    copy_rows(data, stride, y, width as usize);
    u.fill(128);
    v.fill(128);
    Ok(())
}

fn copy_rows(source: &[u8], stride: usize, target: &mut [u8], width: usize) {
    let rows = source.chunks_exact(stride);
    for (from, to) in rows.zip(target.chunks_exact_mut(width)) {
        to.copy_from_slice(&from[..width]);
    }
}

fn enough(data: &[u8], need: usize) -> Result<&[u8], ConvertError> {
    data.get(..need).ok_or(ConvertError::TooShort {
        have: data.len(),
        need,
    })
}

fn planar(target: &mut I420) -> YuvPlanarImageMut<'_, u8> {
    let Resolution { width, height } = target.resolution();
    let chroma = width.div_ceil(2);
    let (y, u, v) = target.planes_mut();
    YuvPlanarImageMut {
        y_plane: BufferStoreMut::Borrowed(y),
        y_stride: width,
        u_plane: BufferStoreMut::Borrowed(u),
        u_stride: chroma,
        v_plane: BufferStoreMut::Borrowed(v),
        v_stride: chroma,
        width,
        height,
    }
}

fn failed(error: yuv::YuvError) -> ConvertError {
    ConvertError::Failed(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::stamp::read_stamp;
    use proptest::prelude::*;

    const SIZE: Resolution = Resolution::new(16, 8);

    fn convert(pixels: PixelFormat, stride: u32, data: &[u8]) -> Result<I420, ConvertError> {
        let mut target = I420::black(SIZE);
        Converter::new()
            .convert(pixels, stride, data, &mut target)
            .map(|()| target)
    }

    fn flat(picture: &I420) -> [u8; 3] {
        let (y, u, v) = picture.planes();
        for plane in [y, u, v] {
            assert!(plane.iter().all(|sample| *sample == plane[0]), "not flat");
        }
        [y[0], u[0], v[0]]
    }

    #[test]
    fn every_packing_arrives_as_the_same_colour() {
        let yuyv = [100, 90, 100, 200].repeat(16 * 8 / 2);
        assert_eq!(
            flat(&convert(PixelFormat::Yuyv, 0, &yuyv).expect("converts")),
            [100, 90, 200]
        );
        let nv12 = [vec![100; 16 * 8], [90, 200].repeat(8 * 4)].concat();
        assert_eq!(
            flat(&convert(PixelFormat::Nv12, 0, &nv12).expect("converts")),
            [100, 90, 200]
        );
        assert_eq!(
            flat(&convert(PixelFormat::Gray, 0, &[77; 128]).expect("converts")),
            [77, 128, 128]
        );
        // BT.601, limited range: pure red.
        let red = flat(&convert(PixelFormat::Rgb, 0, &[255, 0, 0].repeat(128)).expect("converts"));
        assert_eq!(
            red,
            flat(&convert(PixelFormat::Bgr, 0, &[0, 0, 255].repeat(128)).expect("converts"))
        );
        for (have, want) in red.into_iter().zip([81_u8, 90, 240]) {
            assert!(have.abs_diff(want) <= 1, "red is {red:?}");
        }
    }

    #[test]
    fn padding_between_and_behind_rows_is_left_out() {
        let mut row = [60, 90, 60, 200].repeat(8);
        row.extend([1; 12]);
        let mut data = row.repeat(8);
        data.extend([2; 4096]);
        assert_eq!(
            flat(&convert(PixelFormat::Yuyv, 44, &data).expect("converts")),
            [60, 90, 200]
        );
        let mut luma = vec![50; 16];
        luma.extend([9; 4]);
        let mut chroma = [70, 80].repeat(8);
        chroma.extend([9; 4]);
        let data = [luma.repeat(8), chroma.repeat(4)].concat();
        assert_eq!(
            flat(&convert(PixelFormat::Nv12, 20, &data).expect("converts")),
            [50, 70, 80]
        );
    }

    #[test]
    fn short_pictures_are_refused() {
        for pixels in [
            PixelFormat::Yuyv,
            PixelFormat::Nv12,
            PixelFormat::Rgb,
            PixelFormat::Bgr,
            PixelFormat::Gray,
        ] {
            let result = convert(pixels, 0, &[0; 100]);
            assert!(
                matches!(result, Err(ConvertError::TooShort { have: 100, .. })),
                "{pixels:?}"
            );
        }
        assert!(matches!(
            convert(PixelFormat::Mjpeg, 0, &[0; 100]),
            Err(ConvertError::Jpeg(_))
        ));
    }

    #[test]
    fn the_end_of_a_jpeg_is_found_before_old_bytes() {
        let jpeg = [
            0xff, 0xd8, // start
            0xff, 0xe0, 0, 6, 0xff, 0xd9, 0, 0, // a segment that contains the end marker
            0xff, 0xda, 0, 2, 1, 2, 0xff, 0, 3, // scan with a stuffed byte
            0xff, 0xd9,
        ];
        let buffer = [jpeg.as_slice(), &[7, 7, 0xff, 0xd9, 7]].concat();
        assert_eq!(jpeg_end(&buffer), Some(jpeg.len()));
        assert_eq!(jpeg_end(&jpeg[..jpeg.len() - 1]), None);
        assert_eq!(jpeg_end(&[]), None);
    }

    /// A picture of the test camera, 1280x720, 4:2:2, as webcams compress them.
    const JPEG: &[u8] = include_bytes!("../../tests/data/test-camera-37.jpg");

    #[test]
    fn a_jpeg_in_a_longer_buffer_arrives_with_its_stamp_and_colours() {
        let size = Resolution::new(1280, 720);
        let buffer = [JPEG, &[0xab; 100_000]].concat();
        let mut target = I420::black(size);
        let mut converter = Converter::new();
        converter
            .convert(PixelFormat::Mjpeg, 0, &buffer, &mut target)
            .expect("converts");
        assert_eq!(read_stamp(&target), Some(37));
        let (y, u, v) = target.planes();
        let ball = (y[580 * 1280 + 1098], u[290 * 640 + 549], v[290 * 640 + 549]);
        let coral = (153_u8, 97_u8, 180_u8);
        assert!(
            ball.0.abs_diff(coral.0) < 8
                && ball.1.abs_diff(coral.1) < 8
                && ball.2.abs_diff(coral.2) < 8,
            "the ball is {ball:?}"
        );
        let mut other = I420::black(SIZE);
        let result = converter.convert(PixelFormat::Mjpeg, 0, JPEG, &mut other);
        assert_eq!(result, Err(ConvertError::Size(size)));
    }

    proptest! {
        #[test]
        fn damaged_jpegs_never_panic(mut data in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = jpeg_end(&data);
            data.splice(0..0, [0xff, 0xd8]);
            data.extend([0xff, 0xda, 0, 2, 0xff, 0xd9]);
            let _ = convert(PixelFormat::Mjpeg, 0, &data);
        }
    }
}
