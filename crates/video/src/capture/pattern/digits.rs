//! The frame number in large rounded digits, drawn from seven strokes each.

use ahoy_media::frame::I420;
use ahoy_media::units::Resolution;

/// Digits shown; the number wraps behind them.
const PLACES: u32 = 6;
const WHITE_LUMA: u8 = 235;
/// Which of the strokes a to g (top, upper right, lower right, bottom, lower left, upper left,
/// middle) make up a digit; a is the lowest bit.
const STROKES: [u8; 10] = [0x3f, 0x06, 0x5b, 0x4f, 0x66, 0x6d, 0x7d, 0x07, 0x7f, 0x6f];
/// Ends of the strokes a to g in a cell of 1 by 2.
const ENDS: [[(f32, f32); 2]; 7] = [
    [(0.0, 0.0), (1.0, 0.0)],
    [(1.0, 0.0), (1.0, 1.0)],
    [(1.0, 1.0), (1.0, 2.0)],
    [(0.0, 2.0), (1.0, 2.0)],
    [(0.0, 1.0), (0.0, 2.0)],
    [(0.0, 0.0), (0.0, 1.0)],
    [(0.0, 1.0), (1.0, 1.0)],
];

/// The ten digits as opacity masks for one picture size.
pub(super) struct Digits {
    width: usize,
    height: usize,
    masks: [Vec<u8>; 10],
}

impl Digits {
    /// Digits that take up some half of the picture's width.
    pub(super) fn new(resolution: Resolution) -> Self {
        let by_width = resolution.width as f32 * 0.6 / PLACES as f32;
        let by_height = resolution.height as f32 * 0.16;
        let width = by_width.min(by_height).max(4.0) as usize & !1;
        let height = (width as f32 * 1.7) as usize & !1;
        Self {
            width,
            height,
            masks: std::array::from_fn(|digit| mask(STROKES[digit], width, height)),
        }
    }

    /// Draws the number into the middle of the picture.
    pub(super) fn draw(&self, picture: &mut I420, number: u64) {
        let Resolution { width, height } = picture.resolution();
        let left = ((width as usize).saturating_sub(self.width * PLACES as usize) / 2) & !1;
        let top = ((height as usize).saturating_sub(self.height) / 2) & !1;
        for place in 0..PLACES {
            let digit = number / 10_u64.pow(PLACES - 1 - place) % 10;
            let left = left + place as usize * self.width;
            self.draw_mask(picture, &self.masks[digit as usize], left, top);
        }
    }

    fn draw_mask(&self, picture: &mut I420, mask: &[u8], left: usize, top: usize) {
        let columns = picture.resolution().width as usize;
        let chroma_columns = picture.chroma_width();
        let (luma, u, v) = picture.planes_mut();
        let mix = |plane: &mut [u8], at: usize, sample: u8, opacity: u8| {
            if let Some(under) = plane.get_mut(at) {
                let (old, new, part) = (u32::from(*under), u32::from(sample), u32::from(opacity));
                *under = ((old * (255 - part) + new * part) / 255) as u8;
            }
        };
        for (y, row) in mask.chunks_exact(self.width).enumerate() {
            for (x, &opacity) in row.iter().enumerate().filter(|(_, opacity)| **opacity > 0) {
                let (x, y) = (left + x, top + y);
                if x >= columns {
                    continue;
                }
                mix(luma, y * columns + x, WHITE_LUMA, opacity);
                if x % 2 == 0 && y % 2 == 0 {
                    let at = y / 2 * chroma_columns + x / 2;
                    mix(u, at, 128, opacity);
                    mix(v, at, 128, opacity);
                }
            }
        }
    }
}

/// The opacity of one digit, 0 to 255, with soft edges and some room around.
fn mask(strokes: u8, width: usize, height: usize) -> Vec<u8> {
    let (cell, tall) = (width as f32, height as f32);
    let (wide, high) = (cell * 0.56, (tall - cell * 0.28) / 2.0);
    let (left, top) = (cell * 0.22, cell * 0.14);
    let thickness = (cell * 0.085).max(0.8);
    let place = |(x, y): (f32, f32)| (left + x * wide, top + y * high);
    let mut mask = Vec::with_capacity(width * height);
    for index in 0..width * height {
        let point = ((index % width) as f32 + 0.5, (index / width) as f32 + 0.5);
        let nearest = ENDS
            .iter()
            .enumerate()
            .filter(|(stroke, _)| strokes >> stroke & 1 == 1)
            .map(|(_, &[from, to])| distance(point, place(from), place(to)))
            .fold(f32::INFINITY, f32::min);
        mask.push(((thickness - nearest + 0.5).clamp(0.0, 1.0) * 255.0) as u8);
    }
    mask
}

/// Distance of a point from the line between two others.
fn distance(point: (f32, f32), from: (f32, f32), to: (f32, f32)) -> f32 {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let (px, py) = (point.0 - from.0, point.1 - from.1);
    let along = ((px * dx + py * dy) / (dx * dx + dy * dy).max(f32::EPSILON)).clamp(0.0, 1.0);
    (px - along * dx).hypot(py - along * dy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ten_digits_look_different_and_fit() {
        let digits = Digits::new(Resolution::new(640, 360));
        for (index, mask) in digits.masks.iter().enumerate() {
            assert_eq!(mask.len(), digits.width * digits.height);
            assert!(mask.contains(&255));
            assert!(
                !digits.masks[..index].contains(mask),
                "{index} looks like another digit"
            );
        }
    }

    #[test]
    fn numbers_longer_than_the_places_and_tiny_pictures_are_no_problem() {
        for (width, height) in [(16, 16), (16, 4096), (4096, 16), (30, 20)] {
            let resolution = Resolution::new(width, height);
            let mut picture = I420::black(resolution);
            Digits::new(resolution).draw(&mut picture, u64::MAX);
        }
    }
}
