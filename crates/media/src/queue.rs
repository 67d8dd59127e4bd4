//! A place for exactly one value, where the newest wins: what raw pictures wait in between two
//! threads, so that a slow reader costs frames and never delay.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Holds at most one value. Capacity one on purpose: a second raw picture would only be older.
#[derive(Debug)]
pub struct Slot<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    value: Option<T>,
    closed: bool,
}

/// What waiting at a [`Slot`] ended with.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken<T> {
    /// The newest value.
    Value(T),
    /// Nothing came in the time given.
    TimedOut,
    /// Closed and empty: nothing will come any more.
    Closed,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                value: None,
                closed: false,
            }),
            changed: Condvar::new(),
        }
    }
}

impl<T> Slot<T> {
    /// An empty slot.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a value in and returns the one that it replaces, if nobody took that.
    /// Into a closed slot nothing goes: the value comes straight back.
    pub fn put(&self, value: T) -> Option<T> {
        let mut state = self.lock();
        if state.closed {
            return Some(value);
        }
        let replaced = state.value.replace(value);
        drop(state);
        self.changed.notify_one();
        replaced
    }

    /// Takes the value, or waits for one until `deadline`.
    pub fn take_until(&self, deadline: Instant) -> Taken<T> {
        let mut state = self.lock();
        loop {
            if let Some(value) = state.value.take() {
                return Taken::Value(value);
            }
            if state.closed {
                return Taken::Closed;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Taken::TimedOut;
            }
            (state, _) = self
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes the value, or waits for one at most `timeout`.
    pub fn take_timeout(&self, timeout: Duration) -> Taken<T> {
        self.take_until(Instant::now() + timeout)
    }

    /// Takes the value, or waits for one as long as the slot is open. `None` once it is closed.
    pub fn take(&self) -> Option<T> {
        let mut state = self.lock();
        loop {
            if let Some(value) = state.value.take() {
                return Some(value);
            }
            if state.closed {
                return None;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Throws the value away, if there is one.
    pub fn clear(&self) -> Option<T> {
        self.lock().value.take()
    }

    /// Wakes every waiter; what is still in the slot can be taken.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// A value is replaced as a whole, so a thread that panicked left nothing half done.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn the_newest_wins() {
        let slot = Slot::new();
        assert_eq!(slot.put(1), None);
        assert_eq!(slot.put(2), Some(1));
        assert_eq!(slot.take(), Some(2));
        assert_eq!(slot.take_timeout(Duration::ZERO), Taken::TimedOut);
    }

    #[test]
    fn closing_wakes_a_waiter() {
        let slot = Arc::new(Slot::<u8>::new());
        let waiter = std::thread::spawn({
            let slot = Arc::clone(&slot);
            move || slot.take()
        });
        slot.close();
        assert_eq!(waiter.join().expect("no panic"), None);
        assert_eq!(slot.put(1), Some(1), "nothing goes into a closed slot");
        assert_eq!(slot.take_timeout(Duration::ZERO), Taken::Closed);
    }
}
