//! The stream of everything that happens, to the interface.

use std::sync::Arc;
use std::time::Duration;

use ahoy_call::engine::{Levels, devices};
use tauri::async_runtime::spawn_blocking;
use tauri::ipc::Channel;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::shell::Shell;
use crate::view::UiMessage;

/// Shortest time between two snapshots: nobody reads faster, and drawing costs. The first one
/// after a quiet time goes at once.
const VIEW_INTERVAL: Duration = Duration::from_millis(100);

/// Time between two levels: a meter that follows speech without flicker.
const LEVELS_INTERVAL: Duration = Duration::from_millis(67);

/// Time between two looks at what is plugged in: a person who plugs something in has found the
/// menu by then, and asking costs some milliseconds.
const DEVICES_INTERVAL: Duration = Duration::from_secs(2);

/// Nobody listens any more, or there is nothing to tell any more.
struct Over;

/// Forwards until the window or the engine is gone.
pub(crate) async fn forward(shell: Arc<Shell>, channel: Channel<UiMessage>) {
    let channel = &channel;
    let shell = &*shell;
    let Over = tokio::select! {
        over = forward_views(shell, channel) => over,
        over = forward_moments(shell, channel) => over,
        over = forward_levels(shell, channel) => over,
        over = forward_news(shell, channel) => over,
        over = forward_devices(channel) => over,
    };
    tracing::debug!("the interface is no longer told");
}

async fn forward_views(shell: &Shell, channel: &Channel<UiMessage>) -> Over {
    let mut view = shell.engine.view();
    view.mark_changed();
    let mut earliest = Instant::now();
    loop {
        sleep_until(earliest).await;
        if view.changed().await.is_err() {
            return Over;
        }
        let snapshot = Box::new(view.borrow_and_update().clone());
        if let Err(over) = send(channel, UiMessage::View { view: snapshot }) {
            return over;
        }
        earliest = Instant::now() + VIEW_INTERVAL;
    }
}

async fn forward_moments(shell: &Shell, channel: &Channel<UiMessage>) -> Over {
    let mut events = shell.engine.events();
    loop {
        match events.recv().await {
            Ok(event) => {
                if let Err(over) = send(channel, UiMessage::Event { event }) {
                    return over;
                }
            }
            // A moment that was missed is past; the state is in the snapshots.
            Err(RecvError::Lagged(missed)) => tracing::debug!(missed, "moments were missed"),
            Err(RecvError::Closed) => return Over,
        }
    }
}

async fn forward_levels(shell: &Shell, channel: &Channel<UiMessage>) -> Over {
    let mut ticks = interval(LEVELS_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = None;
    loop {
        ticks.tick().await;
        let Ok(Levels {
            local,
            participants,
        }) = shell.engine.levels().await
        else {
            return Over;
        };
        let levels = (local, participants.clone());
        if last.as_ref() != Some(&levels)
            && let Err(over) = send(
                channel,
                UiMessage::Levels {
                    local,
                    participants,
                },
            )
        {
            return over;
        }
        last = Some(levels);
    }
}

async fn forward_news(shell: &Shell, channel: &Channel<UiMessage>) -> Over {
    let mut news = shell.news.subscribe();
    loop {
        let sent = match news.recv().await {
            Ok(message) => send(channel, message),
            Err(RecvError::Lagged(_)) => send_everything(shell, channel),
            Err(RecvError::Closed) => return Over,
        };
        if let Err(over) = sent {
            return over;
        }
    }
}

/// Makes good for news that were missed.
fn send_everything(shell: &Shell, channel: &Channel<UiMessage>) -> Result<(), Over> {
    let state = shell.state();
    send(
        channel,
        UiMessage::Settings {
            settings: state.settings.into(),
        },
    )?;
    let recent_calls = state.recent_calls;
    send(channel, UiMessage::RecentCalls { recent_calls })?;
    let dark = state.platform.theme_dark;
    send(channel, UiMessage::Theme { dark })?;
    let on = state.full_screen;
    send(channel, UiMessage::FullScreen { on })
}

async fn forward_devices(channel: &Channel<UiMessage>) -> Over {
    let mut ticks = interval(DEVICES_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = None;
    loop {
        ticks.tick().await;
        let Ok(devices) = spawn_blocking(devices).await else {
            // A library panicked over a device; the panic is in the log, the next look may work.
            continue;
        };
        if last.as_ref() == Some(&devices) {
            continue;
        }
        last = Some(devices.clone());
        if let Err(over) = send(channel, UiMessage::Devices { devices }) {
            return over;
        }
    }
}

fn send(channel: &Channel<UiMessage>, message: UiMessage) -> Result<(), Over> {
    channel.send(message).map_err(|error| {
        tracing::debug!(%error, "the interface is gone");
        Over
    })
}
