//! What the interface can ask for. Each command hands on to the part that does it.

use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;

use ahoy_audio::processing::ProcessingSettings;
use ahoy_call::doctor::{self, Check};
use ahoy_call::stats::StatsReport;
use ahoy_media::device::Devices;
use ahoy_media::selection::{CameraSelection, MicrophoneSelection, SpeakerSelection};
use ahoy_media::units::VideoConstraints;
use ahoy_signaling::invite::Invite;
use ahoy_signaling::room_code;
use tauri::async_runtime::spawn_blocking;
use tauri::ipc::Channel;
use tauri::{AppHandle, State, WebviewWindow};
use tauri_plugin_clipboard_manager::ClipboardExt;

use crate::code_check::{self, CodeCheck};
use crate::error::{CommandError, ErrorCode};
use crate::recent_calls::RecentCall;
use crate::settings::{Settings, SettingsProblem, check_constraints};
use crate::shell::Shell;
use crate::video_socket::Served;
use crate::view::{AppState, UiMessage, VideoAddress, VideoTile};
use crate::{raw_video, video, window};

type Answer<T = ()> = Result<T, CommandError>;
type Held<'a> = State<'a, Arc<Shell>>;

/// What the interface has to know before it draws anything.
#[tauri::command(async)]
#[specta::specta]
pub(crate) fn get_app_state(shell: Held<'_>) -> AppState {
    shell.state()
}

/// Sends everything that happens from now on, beginning with the state of the call. One page
/// watches at a time.
#[tauri::command(async)]
#[specta::specta]
pub(crate) fn watch_call(shell: Held<'_>, channel: Channel<UiMessage>) {
    shell.watch(channel);
}

/// Creates a room and waits in it.
#[tauri::command]
#[specta::specta]
pub(crate) async fn new_call(shell: Held<'_>) -> Answer {
    let share_on_network = shell.profile.settings().share_on_network;
    Ok(shell.engine.new_call(share_on_network).await?)
}

/// Joins with a room code or an invite link, as typed or pasted.
#[tauri::command]
#[specta::specta]
pub(crate) async fn join_call(shell: Held<'_>, text: String) -> Answer {
    let invite = text
        .parse::<Invite>()
        .map_err(|error| CommandError::new(ErrorCode::BadCode, error.explain()))?;
    Ok(shell.engine.join(invite).await?)
}

/// Joins a former call, or opens its room again under the same code.
#[tauri::command]
#[specta::specta]
pub(crate) async fn reopen_call(shell: Held<'_>, text: String) -> Answer {
    let invite = text
        .parse::<Invite>()
        .map_err(|error| CommandError::new(ErrorCode::BadCode, error.explain()))?;
    let share_on_network = shell.profile.settings().share_on_network;
    Ok(shell.engine.reopen(invite, share_on_network).await?)
}

/// Says what is wrong with a code or a link while it is being typed.
#[tauri::command(async)]
#[specta::specta]
pub(crate) fn check_code(text: String) -> CodeCheck {
    code_check::check(&text)
}

/// The code words that begin like this.
#[tauri::command(async)]
#[specta::specta]
pub(crate) fn complete_word(prefix: String) -> Vec<String> {
    let words = room_code::complete(&prefix);
    words.into_iter().map(str::to_owned).collect()
}

/// Leaves the call.
#[tauri::command]
#[specta::specta]
pub(crate) async fn hang_up(shell: Held<'_>) -> Answer {
    Ok(shell.engine.hang_up().await?)
}

/// Draws new words for the room and tells those in it.
#[tauri::command]
#[specta::specta]
pub(crate) async fn renew_code(shell: Held<'_>) -> Answer {
    Ok(shell.engine.renew_code().await?)
}

/// Mutes the microphone, or not.
#[tauri::command]
#[specta::specta]
pub(crate) async fn set_microphone_muted(shell: Held<'_>, muted: bool) -> Answer {
    Ok(shell.engine.set_microphone_muted(muted).await?)
}

/// Switches the camera on, or off, which releases it.
#[tauri::command]
#[specta::specta]
pub(crate) async fn set_camera_on(shell: Held<'_>, on: bool) -> Answer {
    Ok(shell.engine.set_camera_on(on).await?)
}

/// Chooses a camera, by the text of the settings file.
#[tauri::command]
#[specta::specta]
pub(crate) async fn select_camera(shell: Held<'_>, text: String) -> Answer {
    let camera: CameraSelection = selection(&text)?;
    shell.engine.select_camera(camera.clone()).await?;
    change_settings(&shell, move |settings| settings.camera = camera).await;
    Ok(())
}

/// Chooses a microphone, by the text of the settings file.
#[tauri::command]
#[specta::specta]
pub(crate) async fn select_microphone(shell: Held<'_>, text: String) -> Answer {
    let microphone: MicrophoneSelection = selection(&text)?;
    shell.engine.select_microphone(microphone.clone()).await?;
    change_settings(&shell, move |settings| settings.microphone = microphone).await;
    Ok(())
}

/// Chooses a speaker, by the text of the settings file.
#[tauri::command]
#[specta::specta]
pub(crate) async fn select_speaker(shell: Held<'_>, text: String) -> Answer {
    let speaker: SpeakerSelection = selection(&text)?;
    shell.engine.select_speaker(speaker.clone()).await?;
    change_settings(&shell, move |settings| settings.speaker = speaker).await;
    Ok(())
}

/// Asks the camera for another size or rate.
#[tauri::command]
#[specta::specta]
pub(crate) async fn set_video_constraints(
    shell: Held<'_>,
    constraints: VideoConstraints,
) -> Answer {
    check_constraints(constraints).map_err(settings_error)?;
    shell.engine.set_video_constraints(constraints).await?;
    change_settings(&shell, move |settings| settings.constraints = constraints).await;
    Ok(())
}

/// Switches echo cancellation, noise suppression and automatic gain, or original sound.
#[tauri::command]
#[specta::specta]
pub(crate) async fn set_processing(shell: Held<'_>, processing: ProcessingSettings) -> Answer {
    shell.engine.set_processing(processing).await?;
    change_settings(&shell, move |settings| settings.processing = processing).await;
    Ok(())
}

/// Takes over all settings at once; the engine is told what has changed.
#[tauri::command]
#[specta::specta]
pub(crate) async fn save_settings(
    shell: Held<'_>,
    window: WebviewWindow,
    settings: Settings,
) -> Answer {
    let settings = settings.tidied();
    settings.check().map_err(settings_error)?;
    let former = shell.profile.settings();
    apply(&shell, &former, &settings).await?;
    change_settings(&shell, move |current| *current = settings).await;
    window::paint_background(&window, &shell);
    Ok(())
}

/// Every device there is now.
#[tauri::command]
#[specta::specta]
pub(crate) async fn list_devices() -> Answer<Devices> {
    // Fails only by a panic in a library: then nothing can be listed.
    Ok(spawn_blocking(ahoy_call::engine::devices)
        .await
        .unwrap_or_default())
}

/// Two notes through the chosen speaker.
#[tauri::command]
#[specta::specta]
pub(crate) async fn play_test_sound(shell: Held<'_>) -> Answer {
    Ok(shell.engine.play_test_sound().await?)
}

/// Takes a call out of the list.
#[tauri::command]
#[specta::specta]
pub(crate) async fn remove_recent_call(shell: Held<'_>, id: String) -> Answer {
    on_disk(&shell, move |shell| shell.remove_recent_call(&id)).await;
    Ok(())
}

/// Puts a call back into the list.
#[tauri::command]
#[specta::specta]
pub(crate) async fn restore_recent_call(shell: Held<'_>, call: RecentCall) -> Answer {
    on_disk(&shell, move |shell| shell.add_recent_call(call)).await;
    Ok(())
}

/// Puts a text on the system's clipboard.
#[tauri::command(async)]
#[specta::specta]
pub(crate) fn copy_text(app: AppHandle, text: String) -> Answer {
    app.clipboard()
        .write_text(text)
        .map_err(|error| CommandError::new(ErrorCode::ClipboardFailed, error))
}

/// W3C webrtc-stats of every connection.
#[tauri::command]
#[specta::specta]
pub(crate) async fn get_stats(shell: Held<'_>) -> Answer<StatsReport> {
    Ok(shell.engine.stats().await?)
}

/// Offers the compressed pictures of a tile, each with a 24-byte header, to one connection.
#[tauri::command]
#[specta::specta]
pub(crate) async fn open_video(shell: Held<'_>, tile: VideoTile) -> Answer<VideoAddress> {
    let served = video::serve(&shell.engine, tile).await?;
    offer(&shell, served).await
}

/// Offers the decoded pictures of a tile, for webviews without a VP8 decoder.
#[tauri::command]
#[specta::specta]
pub(crate) async fn open_raw_video(shell: Held<'_>, tile: VideoTile) -> Answer<VideoAddress> {
    let served = raw_video::serve(&shell.engine, tile).await?;
    offer(&shell, served).await
}

async fn offer(shell: &Shell, served: Served) -> Answer<VideoAddress> {
    let address = shell.video_socket.offer(served).await;
    address.map_err(|error| CommandError::new(ErrorCode::VideoFailed, error))
}

/// Looks for what stands in the way of calls: takes a few seconds.
#[tauri::command]
#[specta::specta]
pub(crate) async fn examine_connection(shell: Held<'_>) -> Answer<Vec<Check>> {
    let settings = shell.profile.settings();
    // In a call its own server counts: an invite link may have named another than ours.
    let link = shell
        .engine
        .view()
        .borrow()
        .invite
        .as_ref()
        .map(|it| it.link.clone());
    let of_call = link.and_then(|link| Invite::from_str(&link).ok()?.server);
    let server = match of_call {
        Some(server) => Some(server),
        None => settings.server_address().map_err(settings_error)?,
    };
    let servers = settings.ice_servers().map_err(settings_error)?;
    Ok(doctor::examine(server.as_ref(), servers).await)
}

/// Lets the window fill the screen, or not.
#[tauri::command(async)]
#[specta::specta]
pub(crate) fn set_fullscreen(window: WebviewWindow, on: bool) {
    if let Err(error) = window.set_fullscreen(on) {
        tracing::warn!(%error, "the window does not change its size");
    }
}

/// Closes the window without asking; a call is left.
#[tauri::command(async)]
#[specta::specta]
pub(crate) fn close_window(app: AppHandle) {
    window::close(&app);
}

async fn apply(shell: &Shell, former: &Settings, settings: &Settings) -> Answer {
    let engine = &shell.engine;
    if former.name != settings.name {
        engine.set_name(settings.name.clone()).await?;
    }
    if former.server != settings.server {
        let server = settings.server_address().map_err(settings_error)?;
        engine.set_server(server).await?;
    }
    if (&former.ice_servers, former.always_relay) != (&settings.ice_servers, settings.always_relay)
    {
        let servers = settings.ice_servers().map_err(settings_error)?;
        engine
            .set_ice_servers(servers, settings.always_relay)
            .await?;
    }
    if former.camera != settings.camera {
        engine.select_camera(settings.camera.clone()).await?;
    }
    if former.microphone != settings.microphone {
        engine
            .select_microphone(settings.microphone.clone())
            .await?;
    }
    if former.speaker != settings.speaker {
        engine.select_speaker(settings.speaker.clone()).await?;
    }
    if former.constraints != settings.constraints {
        engine.set_video_constraints(settings.constraints).await?;
    }
    if former.processing != settings.processing {
        engine.set_processing(settings.processing).await?;
    }
    Ok(())
}

async fn change_settings(shell: &Arc<Shell>, change: impl FnOnce(&mut Settings) + Send + 'static) {
    on_disk(shell, |shell| shell.change_settings(change)).await;
}

/// Runs what waits for the disk where that disturbs nobody.
async fn on_disk(shell: &Arc<Shell>, work: impl FnOnce(&Shell) + Send + 'static) {
    let shell = Arc::clone(shell);
    if let Err(error) = spawn_blocking(move || work(&shell)).await {
        tracing::error!(%error, "a change was not written");
    }
}

fn selection<T: FromStr<Err: Display>>(text: &str) -> Answer<T> {
    text.parse()
        .map_err(|error| CommandError::new(ErrorCode::BadSelection, error))
}

fn settings_error(problem: SettingsProblem) -> CommandError {
    let code = match problem {
        SettingsProblem::Server { .. } => ErrorCode::BadServer,
        SettingsProblem::IceServer(_) => ErrorCode::BadIceServer,
        SettingsProblem::Constraints(_) => ErrorCode::BadConstraints,
        SettingsProblem::TooNew(_) => ErrorCode::BadSettings,
    };
    CommandError::new(code, problem)
}
