//! Sound comes first: its threads ask the system for a place before all others.

use thread_priority::ThreadPriority;

/// Above everything ordinary, below the system's own threads.
#[cfg(unix)]
const REAL_TIME_PRIORITY: u8 = 10;

/// Raises the current thread, and on Linux those that it starts from now on. Where the system
/// does not allow that everything works as before, only less surely when the machine is busy.
pub(crate) fn raise_current_thread() {
    if let Err(error) = raise() {
        tracing::debug!(?error, "no raised priority for sound");
    }
}

#[cfg(unix)]
fn raise() -> Result<(), thread_priority::Error> {
    use thread_priority::{
        RealtimeThreadSchedulePolicy, ThreadPriorityValue, ThreadSchedulePolicy,
        set_thread_priority_and_policy, thread_native_id,
    };
    let priority = ThreadPriorityValue::try_from(REAL_TIME_PRIORITY)
        .map_err(|_| thread_priority::Error::Priority("out of range"))?;
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::RoundRobin);
    set_thread_priority_and_policy(
        thread_native_id(),
        ThreadPriority::Crossplatform(priority),
        policy,
    )
}

#[cfg(not(unix))]
fn raise() -> Result<(), thread_priority::Error> {
    thread_priority::set_current_thread_priority(ThreadPriority::Max)
}
