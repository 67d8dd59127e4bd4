//! What lives as long as the window: the engine, the profile, and the streams to the interface.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ahoy_call::engine::{Engine, EngineConfig};
use ahoy_call::view::CallState;
use ahoy_signaling::embedded::EmbeddedConfig;
use tauri::async_runtime::{self, JoinHandle};
use tokio::sync::broadcast;
use tokio::time::timeout;

use crate::events;
use crate::profile::{Notice, NoticeCode, Profile};
use crate::recent_calls::{RecentCall, Recorder};
use crate::settings::Settings;
use crate::video_socket::VideoSocketServer;
use crate::view::{AppState, Platform, UiMessage};

/// News that the interface may lag behind. Each is a whole state; one that is lost is made good
/// by the next, or by the complete state that follows a loss.
const NEWS_CAPACITY: usize = 32;

/// A server that does not take our leave holds the closing window up no longer than this; it
/// notices the closed connection itself.
const LEAVE_PATIENCE: Duration = Duration::from_secs(2);

/// Writing the last call into the list of recent calls takes milliseconds.
const RECORD_PATIENCE: Duration = Duration::from_secs(1);

/// The state behind the commands.
pub(crate) struct Shell {
    /// The call.
    pub(crate) engine: Engine,
    /// Settings and recent calls.
    pub(crate) profile: Profile,
    /// Streams of pictures to the window.
    pub(crate) video_socket: VideoSocketServer,
    /// To whoever watches.
    pub(crate) news: broadcast::Sender<UiMessage>,
    start_notices: Vec<Notice>,
    told: Mutex<Vec<NoticeCode>>,
    invite: Option<String>,
    software_rendering: bool,
    theme_dark: AtomicBool,
    full_screen: AtomicBool,
    watcher: Mutex<Option<JoinHandle<()>>>,
    recorder: Mutex<Option<JoinHandle<()>>>,
    close_asked: AtomicBool,
}

impl Shell {
    /// Starts the engine with the settings of `profile`.
    pub(crate) fn start(
        profile: Profile,
        start_notices: Vec<Notice>,
        invite: Option<String>,
        software_rendering: bool,
    ) -> Arc<Self> {
        let config = engine_config(&profile.settings());
        let engine = async_runtime::block_on(async { Engine::start(config) });
        let shell = Arc::new(Self {
            engine,
            profile,
            video_socket: VideoSocketServer::default(),
            news: broadcast::channel(NEWS_CAPACITY).0,
            start_notices,
            told: Mutex::default(),
            invite,
            software_rendering,
            theme_dark: AtomicBool::new(false),
            full_screen: AtomicBool::new(false),
            watcher: Mutex::default(),
            recorder: Mutex::default(),
            close_asked: AtomicBool::new(false),
        });
        let recorder = async_runtime::spawn(record_calls(Arc::clone(&shell)));
        replace(&shell.recorder, Some(recorder));
        shell
    }

    /// What the interface begins with.
    pub(crate) fn state(&self) -> AppState {
        AppState {
            settings: self.profile.settings(),
            recent_calls: self.profile.recent_calls(),
            notices: self.start_notices.clone(),
            platform: Platform {
                software_rendering: self.software_rendering,
                theme_dark: self.theme_dark(),
            },
            full_screen: self.full_screen(),
            invite: self.invite.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// Sends everything that happens to `channel`. The interface does this when it starts: what
    /// an earlier page watched and showed ends.
    pub(crate) fn watch(self: &Arc<Self>, channel: tauri::ipc::Channel<UiMessage>) {
        let watcher = async_runtime::spawn(events::forward(Arc::clone(self), channel));
        if let Some(former) = replace(&self.watcher, Some(watcher)) {
            former.abort();
        }
    }

    /// To whoever watches; nobody has to.
    pub(crate) fn publish(&self, news: UiMessage) {
        let _ = self.news.send(news);
    }

    /// Whether the desktop prefers dark windows.
    pub(crate) fn theme_dark(&self) -> bool {
        self.theme_dark.load(Ordering::Relaxed)
    }

    /// The desktop prefers dark windows, or not.
    pub(crate) fn set_theme_dark(&self, dark: bool) {
        if self.theme_dark.swap(dark, Ordering::Relaxed) != dark {
            self.publish(UiMessage::Theme { dark });
        }
    }

    /// Whether the window fills the screen.
    pub(crate) fn full_screen(&self) -> bool {
        self.full_screen.load(Ordering::Relaxed)
    }

    /// The window fills the screen, or not, whoever asked for it.
    pub(crate) fn set_full_screen(&self, on: bool) {
        if self.full_screen.swap(on, Ordering::Relaxed) != on {
            self.publish(UiMessage::FullScreen { on });
        }
    }

    /// Publishes and remembers changed settings; what could not be written is told once.
    pub(crate) fn change_settings(&self, change: impl FnOnce(&mut Settings)) {
        let written = self.profile.change_settings(change);
        self.tell_failure(NoticeCode::SettingsNotSaved, written.err());
        self.publish(UiMessage::Settings {
            settings: self.profile.settings().into(),
        });
    }

    /// Adds a call to the recent ones, or puts one back.
    pub(crate) fn add_recent_call(&self, call: RecentCall) {
        let written = self.profile.add_recent_call(call);
        self.recent_calls_changed(written.err());
    }

    /// Takes a call out of the recent ones.
    pub(crate) fn remove_recent_call(&self, id: &str) {
        let written = self.profile.remove_recent_call(id);
        self.recent_calls_changed(written.err());
    }

    /// Whether the window may close now. During a call the first time is answered with a
    /// question in the window; whoever asks again means it.
    pub(crate) fn may_close(&self) -> bool {
        let in_call = is_worth_a_question(&self.engine.view().borrow().state);
        let watched = self.news.receiver_count() > 0;
        let may = !(in_call && watched) || self.close_asked.swap(true, Ordering::Relaxed);
        if !may {
            self.publish(UiMessage::CloseRequested);
        }
        may
    }

    /// Leaves the call, so that the others know at once, and writes down that it was.
    pub(crate) async fn close(&self) {
        if timeout(LEAVE_PATIENCE, self.engine.close()).await.is_err() {
            tracing::warn!("the engine did not close in time");
        }
        let recorder = replace(&self.recorder, None);
        if let Some(recorder) = recorder
            && timeout(RECORD_PATIENCE, recorder).await.is_err()
        {
            tracing::warn!("the call was not written down in time");
        }
    }

    fn recent_calls_changed(&self, failure: Option<Notice>) {
        self.tell_failure(NoticeCode::RecentCallsNotSaved, failure);
        self.publish(UiMessage::RecentCalls {
            recent_calls: self.profile.recent_calls(),
        });
    }

    /// Tells a failure of this kind unless it was told already; once it works again, the next
    /// failure is news.
    fn tell_failure(&self, code: NoticeCode, failure: Option<Notice>) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let known = told.contains(&code);
        match failure {
            Some(notice) if !known => {
                told.push(code);
                self.publish(UiMessage::Notice { notice });
            }
            Some(_) => {}
            None => told.retain(|other| *other != code),
        }
    }
}

/// Somebody is there whom a closing window would leave.
fn is_worth_a_question(state: &CallState) -> bool {
    match state {
        CallState::Connecting | CallState::Connected | CallState::Reconnecting => true,
        CallState::Idle | CallState::Joining | CallState::Waiting | CallState::Ended { .. } => {
            false
        }
    }
}

/// Follows the engine until it ends.
async fn record_calls(shell: Arc<Shell>) {
    let mut view = shell.engine.view();
    let mut recorder = Recorder::default();
    loop {
        let snapshot = view.borrow_and_update().clone();
        if let Some(call) = recorder.observe(&snapshot, now_ms()) {
            shell.add_recent_call(call);
        }
        if !is_worth_a_question(&snapshot.state) {
            // The next call is another question.
            shell.close_asked.store(false, Ordering::Relaxed);
        }
        if view.changed().await.is_err() {
            break;
        }
    }
    if let Some(call) = recorder.finish(now_ms()) {
        shell.add_recent_call(call);
    }
}

/// What the engine starts with.
fn engine_config(settings: &Settings) -> EngineConfig {
    EngineConfig {
        name: settings.name.clone(),
        camera: settings.camera.clone(),
        microphone: settings.microphone.clone(),
        speaker: settings.speaker.clone(),
        processing: settings.processing,
        constraints: settings.constraints,
        // Settings whose address is none are not loaded.
        server: settings.server_address().ok().flatten(),
        ice_servers: settings.ice_servers().unwrap_or_default(),
        relay_only: settings.always_relay,
        embedded: EmbeddedConfig::from_environment(),
        ..EngineConfig::default()
    }
}

fn replace<T>(slot: &Mutex<Option<T>>, value: Option<T>) -> Option<T> {
    std::mem::replace(
        &mut *slot.lock().unwrap_or_else(PoisonError::into_inner),
        value,
    )
}

/// Unix time in ms.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}
