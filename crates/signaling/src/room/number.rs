//! Numbers for new rooms.

use rand::{Rng, RngExt};

use crate::room_code::RoomNumber;

/// At most one number in so many is in use, so that a guess seldom hits a room.
const SPARSENESS: u32 = 10;
/// Draws before giving up. At most one number in ten is taken, so this never happens.
const MAX_DRAWS: usize = 64;

/// A free number with as few digits as `open` rooms allow, each as likely as any other.
pub(super) fn draw(
    random: &mut impl Rng,
    open: usize,
    taken: impl Fn(RoomNumber) -> bool,
) -> Option<RoomNumber> {
    let (first, last) = range(open)?;
    (0..MAX_DRAWS)
        .filter_map(|_| RoomNumber::new(random.random_range(first..=last)))
        .find(|number| !taken(*number))
}

/// First and last number with the digits that `open` rooms need.
fn range(open: usize) -> Option<(u32, u32)> {
    let open = u32::try_from(open).ok()?;
    [1_000, 10_000, 100_000]
        .into_iter()
        .map(|first| (first, first * 10 - 1))
        .find(|(first, last)| open < (last - first + 1) / SPARSENESS)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn digits_grow_with_the_number_of_rooms() {
        assert_eq!(range(0), Some((1_000, 9_999)));
        assert_eq!(range(899), Some((1_000, 9_999)));
        assert_eq!(range(900), Some((10_000, 99_999)));
        assert_eq!(range(9_000), Some((100_000, 999_999)));
        assert_eq!(range(89_999), Some((100_000, 999_999)));
        assert_eq!(range(90_000), None);
    }

    #[test]
    fn numbers_are_spread_and_never_taken_twice() {
        let mut random = StdRng::seed_from_u64(1);
        let mut taken = BTreeSet::new();
        for open in 0..20_000 {
            let number =
                draw(&mut random, open, |number| taken.contains(&number)).expect("a number");
            assert!(taken.insert(number));
        }
        let first: Vec<u32> = taken.iter().take(900).map(|number| number.get()).collect();
        assert!(first[0] < 1_100 && first[899] > 9_800 && first[899] < 10_000);
    }
}
