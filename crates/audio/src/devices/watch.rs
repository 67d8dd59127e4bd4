//! Notices that devices come and go, and that the default one changes.
//!
//! One thread for the whole program keeps the list up to date as long as somebody wants it. A
//! PulseAudio server, and PipeWire as one, says when something changes; then that thread sleeps.
//! Elsewhere it looks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::{self, Thread};
use std::time::Duration;

use super::stream::within;
use super::{Direction, LIST_TIMEOUT, fingerprint, list};
use ahoy_media::device::{DeviceInfo, DeviceKind};

/// How often is looked where nothing is said: a device that is unplugged is to be replaced
/// within a second, and looking takes 1 to 2 ms.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// How often is looked all the same, should something have been missed.
const RECHECK_INTERVAL: Duration = Duration::from_secs(10);
/// Changes come in bunches: a device that appears also becomes the default.
const SETTLE: Duration = Duration::from_millis(30);
/// Wake-ups that wait: one says as much as several.
const WAKE_UPS: usize = 1;

/// Devices of one direction, kept up to date.
pub(crate) struct Subscription {
    watcher: Arc<Watcher>,
    direction: Direction,
    user: u64,
    seen: u64,
}

impl Subscription {
    /// `user` is unparked when something has changed.
    pub(crate) fn new(kind: DeviceKind, user: Thread) -> Self {
        let watcher = Watcher::shared();
        let number = watcher.numbers.fetch_add(1, Ordering::Relaxed);
        lock(&watcher.state).users.push((number, user));
        let direction = match kind {
            DeviceKind::Speaker => Direction::Output,
            DeviceKind::Microphone | DeviceKind::Camera => Direction::Input,
        };
        Self {
            watcher,
            direction,
            user: number,
            seen: 0,
        }
    }

    /// The devices, if they may have changed since the last call. The default one is first.
    pub(crate) fn take(&mut self) -> Option<Arc<[DeviceInfo]>> {
        let number = self.watcher.changes.load(Ordering::Acquire);
        if number == self.seen {
            return None;
        }
        self.seen = number;
        let state = lock(&self.watcher.state);
        match self.direction {
            Direction::Input => state.inputs.clone(),
            Direction::Output => state.outputs.clone(),
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        lock(&self.watcher.state)
            .users
            .retain(|(number, _)| *number != self.user);
    }
}

/// What the thread and the subscriptions share. The thread ends with the last subscription.
struct Watcher {
    state: Mutex<State>,
    changes: AtomicU64,
    numbers: AtomicU64,
    wake: SyncSender<()>,
}

#[derive(Default)]
struct State {
    users: Vec<(u64, Thread)>,
    inputs: Option<Arc<[DeviceInfo]>>,
    outputs: Option<Arc<[DeviceInfo]>>,
}

static SHARED: Mutex<Weak<Watcher>> = Mutex::new(Weak::new());

impl Watcher {
    fn shared() -> Arc<Self> {
        let mut shared = lock(&SHARED);
        if let Some(watcher) = shared.upgrade() {
            return watcher;
        }
        let (wake, woken) = mpsc::sync_channel(WAKE_UPS);
        let watcher = Arc::new(Self {
            state: Mutex::default(),
            changes: AtomicU64::new(0),
            numbers: AtomicU64::new(0),
            wake: wake.clone(),
        });
        let weak = Arc::downgrade(&watcher);
        let started = thread::Builder::new()
            .name("device-watch".to_owned())
            .spawn(move || watch(&weak, &woken, &wake));
        if let Err(error) = started {
            tracing::warn!(%error, "devices are not watched");
        }
        *shared = Arc::downgrade(&watcher);
        watcher
    }

    fn publish(&self, inputs: Option<Vec<DeviceInfo>>, outputs: Option<Vec<DeviceInfo>>) {
        let mut state = lock(&self.state);
        let (inputs, outputs) = (inputs.map(Arc::from), outputs.map(Arc::from));
        if state.inputs == inputs && state.outputs == outputs {
            return;
        }
        (state.inputs, state.outputs) = (inputs, outputs);
        self.changes.fetch_add(1, Ordering::Release);
        for (_, user) in &state.users {
            user.unpark();
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.wake.try_send(());
    }
}

fn watch(watcher: &Weak<Watcher>, woken: &Receiver<()>, wake: &SyncSender<()>) {
    let mut server = None;
    let mut before = None;
    loop {
        // First listen, then look: nothing is missed in between.
        let listening = listen(&mut server, wake);
        let print = within(LIST_TIMEOUT, fingerprint).ok();
        let Some(watcher) = watcher.upgrade() else {
            return;
        };
        if print.is_none() || print != before {
            let listed = |direction| within(LIST_TIMEOUT, move || list(direction)).ok();
            watcher.publish(listed(Direction::Input), listed(Direction::Output));
            before = print;
        }
        drop(watcher);
        let pause = if listening {
            RECHECK_INTERVAL
        } else {
            LOOK_INTERVAL
        };
        if woken.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected) {
            return;
        }
        thread::sleep(SETTLE);
        while woken.try_recv().is_ok() {}
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Values are replaced as a whole: a thread that panicked left nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(target_os = "linux")]
use self::notices::listen;

#[cfg(not(target_os = "linux"))]
fn listen(_: &mut Option<()>, _: &SyncSender<()>) -> bool {
    false
}

/// A connection to the server on which it says what changes.
#[cfg(target_os = "linux")]
mod notices {
    use std::ffi::CString;
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc::SyncSender;
    use std::thread;

    use pulseaudio::protocol::{
        self, Command, ProtocolError, SubscriptionEventFacility as Facility, SubscriptionMask,
    };

    use super::super::pulse::Server;

    pub(super) struct Listener {
        socket: UnixStream,
        ended: Arc<AtomicBool>,
    }

    impl Drop for Listener {
        fn drop(&mut self) {
            let _ = self.socket.shutdown(Shutdown::Both);
        }
    }

    /// Makes sure that changes are told, by a message to `wake`, if there is anybody to tell.
    pub(super) fn listen(listener: &mut Option<Listener>, wake: &SyncSender<()>) -> bool {
        if listener
            .as_ref()
            .is_none_or(|it| it.ended.load(Ordering::Relaxed))
        {
            *listener = subscribe(wake.clone())
                .inspect_err(|error| tracing::debug!(%error, "nobody tells of devices"))
                .ok();
        }
        listener.is_some()
    }

    fn subscribe(wake: SyncSender<()>) -> Result<Listener, ProtocolError> {
        let mut server = Server::connect(CString::from(c"Ahoy device list"))?;
        let what = SubscriptionMask::SINK | SubscriptionMask::SOURCE | SubscriptionMask::SERVER;
        server.tell(&Command::Subscribe(what))?;
        protocol::read_ack_message(&mut server.socket)?;
        let socket = server.wait_for_ever()?;
        let ended = Arc::new(AtomicBool::new(false));
        let end = ended.clone();
        let work = move || {
            let Server { socket, version } = &mut server;
            while let Ok((_, command)) = protocol::read_command_message(socket, *version) {
                if concerns_devices(&command) {
                    // Full means that it has been said already.
                    let _ = wake.try_send(());
                }
            }
            end.store(true, Ordering::Relaxed);
            let _ = wake.try_send(());
        };
        thread::Builder::new()
            .name("device-events".to_owned())
            .spawn(work)?;
        Ok(Listener { socket, ended })
    }

    fn concerns_devices(command: &Command) -> bool {
        match command {
            Command::SubscribeEvent(event) => matches!(
                event.event_facility,
                Facility::Sink | Facility::Source | Facility::Server
            ),
            _ => false,
        }
    }
}
