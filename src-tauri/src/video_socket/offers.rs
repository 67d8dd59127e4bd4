//! What can be fetched with which token, once and soon.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Time to connect with a token: our page does it at once, also on a busy computer.
pub(crate) const OFFER_LIFETIME: Duration = Duration::from_secs(10);

/// Things by token. A token is 128 random bits: nobody guesses it in ten seconds.
pub(crate) struct Offers<T> {
    open: Mutex<HashMap<String, (T, Instant)>>,
}

impl<T> Default for Offers<T> {
    fn default() -> Self {
        Self {
            open: Mutex::default(),
        }
    }
}

impl<T> Offers<T> {
    /// Offers `value` to whoever brings the token.
    pub(crate) fn add(&self, value: T, now: Instant) -> String {
        let token = format!("{:032x}", rand::random::<u128>());
        self.open().insert(token.clone(), (value, now));
        token
    }

    /// What was offered for `token`, unless it was taken before or is too old.
    pub(crate) fn take(&self, token: &str, now: Instant) -> Option<T> {
        let (value, since) = self.open().remove(token)?;
        is_fresh(since, now).then_some(value)
    }

    /// Drops everything that is too old to be taken.
    pub(crate) fn forget_old(&self, now: Instant) {
        self.open().retain(|_, (_, since)| is_fresh(*since, now));
    }

    fn open(&self) -> MutexGuard<'_, HashMap<String, (T, Instant)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_fresh(since: Instant, now: Instant) -> bool {
    now.saturating_duration_since(since) < OFFER_LIFETIME
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_once() {
        let now = Instant::now();
        let offers = Offers::default();
        let token = offers.add("picture", now);
        assert_eq!(token.len(), 32);
        assert_eq!(offers.take("other", now), None);
        assert_eq!(offers.take(&token, now), Some("picture"));
        assert_eq!(offers.take(&token, now), None);
    }

    #[test]
    fn old_offers_are_worth_nothing() {
        let now = Instant::now();
        let offers = Offers::default();
        let (old, new) = (offers.add(1, now), offers.add(2, now + OFFER_LIFETIME / 2));
        let later = now + OFFER_LIFETIME;
        offers.forget_old(later);
        assert_eq!(offers.open().len(), 1);
        assert_eq!(offers.take(&old, later), None);
        assert_eq!(offers.take(&new, later), Some(2));
    }
}
