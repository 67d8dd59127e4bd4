//! Half the width and half the height: what most of making a picture smaller comes down to, at a tenth
//! of what a filter for any ratio costs.

use ahoy_media::frame::I420;
use ahoy_media::units::Resolution;

/// Half of `source`, when that is not smaller than `target` and every plane of it has whole samples.
pub(super) fn half(source: Resolution, target: Resolution) -> Option<Resolution> {
    let whole = source.width.is_multiple_of(4) && source.height.is_multiple_of(4);
    let half = Resolution::new(source.width / 2, source.height / 2);
    let enough = half.width >= target.width && half.height >= target.height;
    (whole && enough && half.pixels() > 0).then_some(half)
}

/// Each sample of `target`, which has the size that [`half`] gave, becomes the mean of the four of
/// `source` that it covers.
pub(super) fn halve(source: &I420, target: &mut I420) {
    let width = source.resolution().width as usize;
    let source: [&[u8]; 3] = source.planes().into();
    let target: [&mut [u8]; 3] = target.planes_mut().into();
    let widths = [width, width / 2, width / 2];
    for ((source, target), width) in source.into_iter().zip(target).zip(widths) {
        let rows = source.chunks_exact(2 * width);
        for (rows, target) in rows.zip(target.chunks_exact_mut(width / 2)) {
            halve_rows(rows.split_at(width), target);
        }
    }
}

fn halve_rows((upper, lower): (&[u8], &[u8]), target: &mut [u8]) {
    let upper = upper.as_chunks::<2>().0;
    let lower = lower.as_chunks::<2>().0;
    for ((upper, lower), target) in upper.iter().zip(lower).zip(target) {
        let sum = [upper[0], upper[1], lower[0], lower[1]].map(u16::from);
        *target = ((sum[0] + sum[1] + sum[2] + sum[3] + 2) / 4) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stays_large_enough_and_whole_is_halved() {
        let half = |w, h, tw, th| half(Resolution::new(w, h), Resolution::new(tw, th));
        assert_eq!(half(1280, 720, 640, 360), Some(Resolution::new(640, 360)));
        assert_eq!(half(1280, 720, 480, 270), Some(Resolution::new(640, 360)));
        assert_eq!(half(1280, 720, 960, 540), None);
        assert_eq!(half(642, 360, 160, 90), None);
        assert_eq!(half(0, 360, 0, 90), None);
    }

    #[test]
    fn samples_are_the_mean_of_four() {
        let mut source = I420::black(Resolution::new(8, 4));
        for (index, sample) in source.as_bytes_mut().iter_mut().enumerate() {
            *sample = index as u8;
        }
        let mut target = I420::black(Resolution::new(4, 2));
        halve(&source, &mut target);
        // Rows of eight: 0, 1 above 8, 9; the chroma planes begin at 32 and 40, with rows of four.
        assert_eq!(
            target.as_bytes_mut(),
            [5, 7, 9, 11, 21, 23, 25, 27, 35, 37, 43, 45]
        );
    }
}
