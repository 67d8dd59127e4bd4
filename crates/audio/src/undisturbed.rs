//! For tests: proves that a piece of code takes no memory, gives none back and logs nothing.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

thread_local! {
    /// Uses of the allocator on this thread, while they are counted.
    static USES: Cell<Option<u64>> = const { Cell::new(None) };
}

struct Counting;

impl Counting {
    fn count() {
        // Fails only while the thread ends.
        let _ = USES.try_with(|uses| uses.set(uses.get().map(|count| count + 1)));
    }
}

// SAFETY: every call is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::count();
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        Self::count();
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::count();
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Hears every event and span.
struct Listener(Arc<AtomicU64>);

impl Subscriber for Listener {
    // Also asked for other threads.
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        self.0.fetch_add(1, Ordering::Relaxed);
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Runs `work`; returns how often it used the allocator and how often it logged.
pub(crate) fn disturbances(work: impl FnOnce()) -> (u64, u64) {
    let heard = Arc::new(AtomicU64::new(0));
    let uses = tracing::subscriber::with_default(Listener(heard.clone()), || {
        USES.set(Some(0));
        work();
        USES.replace(None).unwrap_or(0)
    });
    (uses, heard.load(Ordering::Relaxed))
}

#[test]
fn disturbances_are_noticed() {
    assert_eq!(disturbances(|| {}), (0, 0));
    let noticed = (0..1_000).any(|_| {
        let (uses, logged) = disturbances(|| {
            drop(std::hint::black_box(vec![0_u8; 100]));
            tracing::trace!("a word");
        });
        assert!(uses >= 2, "{uses}");
        // Tests beside this one come and go with listeners of their own: for a moment the library
        // may believe that nobody listens.
        logged >= 1
    });
    assert!(noticed);
}
