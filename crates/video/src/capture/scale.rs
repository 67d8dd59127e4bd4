//! Making pictures smaller, with the aspect ratio kept and nothing cropped.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};

use ahoy_media::frame::I420;
use ahoy_media::units::Resolution;

use super::halve::{half, halve};

/// The largest size with the aspect ratio of `source` that fits into `bound`, never larger than
/// `source`. A picture that is scaled has even width and height (4:2:0 chroma stays whole); one
/// that fits keeps its size. A portrait picture may use the bound turned by 90 degrees.
pub fn fit(source: Resolution, bound: Resolution) -> Resolution {
    let bound = if (source.width > source.height) == (bound.width > bound.height) {
        bound
    } else {
        Resolution::new(bound.height, bound.width)
    };
    if source.width <= bound.width && source.height <= bound.height {
        return source;
    }
    let (width, height) = (u64::from(source.width), u64::from(source.height));
    let (bound_width, bound_height) = (u64::from(bound.width), u64::from(bound.height));
    if width * bound_height > height * bound_width {
        Resolution::new(even(bound_width), even(height * bound_width / width.max(1)))
    } else {
        Resolution::new(
            even(width * bound_height / height.max(1)),
            even(bound_height),
        )
    }
}

/// Halves a picture as often as it can be, and scales the rest with an area-aware bilinear filter: each
/// result sample is a weighted mean of all the source samples it covers, so thin lines and the frame
/// stamp survive.
#[derive(Default)]
pub struct Scaler {
    resizer: Resizer,
    /// Halved pictures on the way to what was wanted last.
    halves: Vec<I420>,
}

impl Scaler {
    /// A scaler; it keeps its filter tables between pictures.
    pub fn new() -> Self {
        Self::default()
    }

    /// Scales `source` to the size of `target`, whatever the aspect ratios.
    ///
    /// # Errors
    /// When either picture has no pixels.
    pub fn scale(&mut self, source: &I420, target: &mut I420) -> Result<(), ScaleError> {
        let Some(half) = half(source.resolution(), target.resolution()) else {
            // Those of this way are taken out.
            self.halves.clear();
            return self.filter(source, target);
        };
        if half == target.resolution() {
            halve(source, target);
            return Ok(());
        }
        let known = self.halves.iter().position(|it| it.resolution() == half);
        let mut halved =
            known.map_or_else(|| I420::black(half), |place| self.halves.swap_remove(place));
        halve(source, &mut halved);
        let result = self.scale(&halved, target);
        self.halves.push(halved);
        result
    }

    fn filter(&mut self, source: &I420, target: &mut I420) -> Result<(), ScaleError> {
        let from = plane_sizes(source);
        let to = plane_sizes(target);
        let source_planes: [&[u8]; 3] = source.planes().into();
        let target_planes: [&mut [u8]; 3] = target.planes_mut().into();
        for (index, (source, target)) in source_planes.into_iter().zip(target_planes).enumerate() {
            self.scale_plane(source, from[index], target, to[index])?;
        }
        Ok(())
    }

    fn scale_plane(
        &mut self,
        source: &[u8],
        from: (u32, u32),
        target: &mut [u8],
        to: (u32, u32),
    ) -> Result<(), ScaleError> {
        let error = |error: &dyn std::fmt::Display| ScaleError(error.to_string());
        // With the pixel type fixed here, the filters of thirteen others need not be compiled.
        let source =
            TypedImageRef::<U8>::from_buffer(from.0, from.1, source).map_err(|e| error(&e))?;
        let mut target =
            TypedImage::<U8>::from_buffer(to.0, to.1, target).map_err(|e| error(&e))?;
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
        self.resizer
            .resize_typed(&source, &mut target, &options)
            .map_err(|e| error(&e))
    }
}

/// A picture that cannot be scaled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot scale the picture: {0}")]
pub struct ScaleError(String);

fn plane_sizes(picture: &I420) -> [(u32, u32); 3] {
    let Resolution { width, height } = picture.resolution();
    let chroma = (width.div_ceil(2), height.div_ceil(2));
    [(width, height), chroma, chroma]
}

/// Rounded down to an even number, at least 2.
fn even(value: u64) -> u32 {
    u32::try_from(value & !1).unwrap_or(u32::MAX).max(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::stamp::{read_stamp, write_stamp};
    use proptest::prelude::*;

    #[test]
    fn sizes_keep_the_aspect_and_never_grow() {
        let fit = |w, h, bw, bh| fit(Resolution::new(w, h), Resolution::new(bw, bh)).to_string();
        assert_eq!(fit(1920, 1080, 1280, 720), "1280x720");
        assert_eq!(fit(640, 480, 1280, 720), "640x480");
        assert_eq!(fit(640, 480, 640, 360), "480x360");
        assert_eq!(fit(1920, 1080, 320, 180), "320x180");
        assert_eq!(fit(720, 1280, 640, 360), "360x640");
        assert_eq!(fit(4096, 16, 160, 90), "160x2");
        assert_eq!(fit(321, 181, 1280, 720), "321x181");
    }

    #[test]
    fn the_stamp_survives_scaling() {
        let mut source = I420::black(Resolution::new(1280, 720));
        for (index, sample) in source.as_bytes_mut().iter_mut().enumerate() {
            *sample = (index * 7 % 200) as u8 + 20;
        }
        write_stamp(&mut source, 0x5a5a5a);
        let mut scaler = Scaler::new();
        for (width, height) in [(960, 540), (640, 360), (426, 240), (320, 180), (160, 90)] {
            let mut target = I420::black(Resolution::new(width, height));
            scaler.scale(&source, &mut target).expect("scales");
            assert_eq!(read_stamp(&target), Some(0x5a5a5a), "{width}x{height}");
        }
    }

    #[test]
    fn a_flat_picture_stays_flat() {
        let mut source = I420::black(Resolution::new(101, 77));
        source.as_bytes_mut().fill(93);
        let mut target = I420::black(Resolution::new(34, 26));
        Scaler::new().scale(&source, &mut target).expect("scales");
        assert!(target.as_bytes().iter().all(|&sample| sample == 93));
    }

    proptest! {
        #[test]
        fn any_size_fits(w in 1_u32..5000, h in 1_u32..5000, bw in 16_u32..4097, bh in 16_u32..4097) {
            let result = fit(Resolution::new(w, h), Resolution::new(bw, bh));
            prop_assert!(result.width >= 1 && result.height >= 1);
            prop_assert!(result.width.max(result.height) <= bw.max(bh));
            prop_assert!(result.width <= w.max(2) && result.height <= h.max(2));
        }
    }
}
