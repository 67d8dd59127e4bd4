//! The frame stamp: a picture's number as a row of 32 black and white cells at its top, which
//! survives scaling and compression. Tests and measurements read it back from the other side.
//!
//! Each cell is 1/32 of the width wide and as high as wide. The cells are 24 bits of the number,
//! most significant first, then 8 bits of CRC-8 over its three bytes.

use ahoy_media::frame::I420;

/// Cells in the row, one bit each.
pub const CELLS: usize = 32;
/// Numbers are written modulo this: 24 bits.
pub const NUMBERS: u32 = 1 << 24;

/// Luma of a one.
const ONE: u8 = 235;
/// Luma of a zero.
const ZERO: u8 = 16;
/// A cell whose mean luma is above is a one.
const THRESHOLD: u32 = 126;

/// Writes `number` modulo [`NUMBERS`] over the top of the picture.
pub fn write_stamp(picture: &mut I420, number: u32) {
    let (width, height) = size(picture);
    let rows = cell_height(width).min(height);
    let code = encode(number % NUMBERS);
    let chroma_width = picture.chroma_width();
    let (luma, u, v) = picture.planes_mut();
    for row in luma.chunks_exact_mut(width).take(rows) {
        for cell in 0..CELLS {
            row[cell * width / CELLS..(cell + 1) * width / CELLS].fill(luma_of(code, cell));
        }
    }
    let neutral = rows.div_ceil(2) * chroma_width;
    u[..neutral].fill(128);
    v[..neutral].fill(128);
}

/// Reads the number back; `None` when there is no stamp or it is damaged.
pub fn read_stamp(picture: &I420) -> Option<u32> {
    let (width, height) = size(picture);
    if width < CELLS || height < cell_height(width) {
        return None;
    }
    let (luma, ..) = picture.planes();
    let code = (0..CELLS).fold(0_u32, |code, cell| {
        code << 1 | u32::from(mean_of_cell(luma, width, cell) > THRESHOLD)
    });
    let number = code >> 8;
    (encode(number) == code).then_some(number)
}

fn size(picture: &I420) -> (usize, usize) {
    let resolution = picture.resolution();
    (resolution.width as usize, resolution.height as usize)
}

fn cell_height(width: usize) -> usize {
    (width / CELLS).max(1)
}

fn encode(number: u32) -> u32 {
    number << 8 | u32::from(crc8(&number.to_be_bytes()[1..]))
}

fn luma_of(code: u32, cell: usize) -> u8 {
    if code >> (CELLS - 1 - cell) & 1 == 1 {
        ONE
    } else {
        ZERO
    }
}

/// Mean of nine samples around the centre, a sixth of the cell apart.
fn mean_of_cell(luma: &[u8], width: usize, cell: usize) -> u32 {
    let height = cell_height(width);
    let x = (cell * width + width / 2) / CELLS;
    let y = height / 2;
    let step = height / 6;
    let columns = [x - step.min(x), x, (x + step).min(width - 1)];
    let rows = [y - step, y, y + step];
    let sum: u32 = rows
        .iter()
        .flat_map(|row| columns.map(|column| u32::from(luma[row * width + column])))
        .sum();
    sum / 9
}

/// CRC-8 with polynomial 0x07, initial value 0, not reflected.
fn crc8(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ byte, |crc, _| {
            crc << 1 ^ if crc & 0x80 == 0 { 0 } else { 0x07 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ahoy_media::units::Resolution;

    #[test]
    fn the_checksum_is_the_standard_one() {
        // Check value of CRC-8 (also called CRC-8/SMBUS) in the usual catalogue.
        assert_eq!(crc8(b"123456789"), 0xf4);
    }

    #[test]
    fn numbers_come_back_at_every_size() {
        for (width, height) in [
            (32, 18),
            (160, 90),
            (322, 181),
            (640, 360),
            (1280, 720),
            (4096, 2160),
        ] {
            let mut picture = I420::black(Resolution::new(width, height));
            for number in [0, 1, 29, 0xa5a5a5, NUMBERS - 1, NUMBERS + 7] {
                write_stamp(&mut picture, number);
                assert_eq!(
                    read_stamp(&picture),
                    Some(number % NUMBERS),
                    "{width}x{height}"
                );
            }
        }
    }

    #[test]
    fn one_wrong_cell_is_noticed() {
        let mut picture = I420::black(Resolution::new(320, 180));
        write_stamp(&mut picture, 1234);
        for cell in 0..CELLS {
            let mut damaged = picture.clone();
            let (luma, ..) = damaged.planes_mut();
            for row in luma.chunks_exact_mut(320).take(10) {
                for sample in &mut row[cell * 10..cell * 10 + 10] {
                    *sample = 255 - *sample;
                }
            }
            assert_eq!(read_stamp(&damaged), None, "cell {cell}");
        }
    }

    #[test]
    fn pictures_without_room_for_a_stamp_are_no_problem() {
        for (width, height) in [(1, 1), (2, 2), (31, 31), (4096, 16)] {
            let mut picture = I420::black(Resolution::new(width, height));
            write_stamp(&mut picture, 5);
            assert_eq!(read_stamp(&picture), None);
        }
    }
}
