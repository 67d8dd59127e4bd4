//! The window: its size, its colours before the interface is there, and how it closes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tauri::utils::config::Color;
use tauri::{
    App, AppHandle, Manager, WebviewUrl, WebviewWindow, WebviewWindowBuilder, Window, WindowEvent,
};

use crate::profile::WindowSize;
use crate::settings::Theme;
use crate::shell::Shell;

/// Name of the only window.
const LABEL: &str = "main";
/// Size at the first start, in logical pixels.
const USUAL: WindowSize = WindowSize {
    width: 1280.0,
    height: 800.0,
    maximized: false,
};
/// Smallest size at which everything is usable.
const SMALLEST: (f64, f64) = (360.0, 480.0);
/// The canvas of the interface, light and dark.
const LIGHT: Color = Color(0xEF, 0xF1, 0xEC, 0xFF);
const DARK: Color = Color(0x0E, 0x16, 0x14, 0xFF);

/// The window is on its way out; a second request changes nothing.
static CLOSING: AtomicBool = AtomicBool::new(false);

/// Opens the window.
///
/// # Errors
/// The system has no window for us.
pub(crate) fn open(app: &App, shell: &Arc<Shell>, software_rendering: bool) -> tauri::Result<()> {
    let theme = shell.profile.settings().theme;
    let size = shell.profile.window_size().map_or(USUAL, sensible);
    let window = WebviewWindowBuilder::new(app, LABEL, WebviewUrl::default())
        .title("Ahoy")
        .inner_size(size.width, size.height)
        .min_inner_size(SMALLEST.0, SMALLEST.1)
        .maximized(size.maximized)
        .prevent_overflow()
        .initialization_script(theme_script(theme))
        .background_color(canvas(theme, false))
        .build()?;
    if software_rendering {
        draw_without_compositing(&window);
    }
    #[cfg(target_os = "linux")]
    follow_full_screen(&window, shell)?;
    shell.set_theme_dark(desktop_is_dark(&window));
    paint_background(&window, shell);
    Ok(())
}

/// Fills the window with the colour of the interface's canvas, for the moments in which the
/// interface has not drawn yet.
pub(crate) fn paint_background(window: &WebviewWindow, shell: &Shell) {
    let color = canvas(shell.profile.settings().theme, shell.theme_dark());
    if let Err(error) = window.set_background_color(Some(color)) {
        tracing::debug!(%error, "the window keeps its background");
    }
}

/// What the window system tells us.
pub(crate) fn handle(window: &Window, event: &WindowEvent) {
    let shell = window.state::<Arc<Shell>>();
    match event {
        WindowEvent::CloseRequested { api, .. } => {
            api.prevent_close();
            if shell.may_close() {
                close(window.app_handle());
            }
        }
        WindowEvent::ThemeChanged(theme) => shell.set_theme_dark(*theme == tauri::Theme::Dark),
        #[cfg(not(target_os = "linux"))]
        WindowEvent::Resized(_) => shell.set_full_screen(window.is_fullscreen().is_ok_and(|on| on)),
        _ => {}
    }
}

/// Notices when the window begins or ceases to fill the screen. Window managers have keys for it
/// too; Tauri, asked on Linux, only knows what it was told to do itself.
#[cfg(target_os = "linux")]
fn follow_full_screen(window: &WebviewWindow, shell: &Arc<Shell>) -> tauri::Result<()> {
    use gtk::gdk::WindowState;
    use gtk::glib::Propagation;
    use gtk::prelude::WidgetExt;
    let shell = Arc::clone(shell);
    let window = window.gtk_window()?;
    window.connect_window_state_event(move |_, event| {
        shell.set_full_screen(event.new_window_state().contains(WindowState::FULLSCREEN));
        Propagation::Proceed
    });
    Ok(())
}

/// Hides the window at once, leaves the call, and ends Ahoy.
pub(crate) fn close(app: &AppHandle) {
    if CLOSING.swap(true, Ordering::SeqCst) {
        return;
    }
    let shell = Arc::clone(&app.state::<Arc<Shell>>());
    if let Some(window) = app.get_webview_window(LABEL) {
        remember_size(&window, &shell);
        if let Err(error) = window.hide() {
            tracing::debug!(%error, "the window stays until the call is left");
        }
    }
    let app = app.clone();
    tauri::async_runtime::spawn(async move {
        shell.close().await;
        app.exit(0);
    });
}

/// Closes Ahoy as by its window when the system asks for it (logging out, `kill`, Ctrl+C).
pub(crate) async fn close_on_signal(app: AppHandle) {
    match stop_signal().await {
        Ok(()) => close(&app),
        Err(error) => tracing::warn!(%error, "signals are not noticed"),
    }
}

#[cfg(unix)]
async fn stop_signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

#[cfg(not(unix))]
async fn stop_signal() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}

/// A size that was written by hand or on another screen may be anything.
fn sensible(size: WindowSize) -> WindowSize {
    let usable = size.width >= SMALLEST.0 && size.height >= SMALLEST.1;
    if usable { size } else { USUAL }
}

fn remember_size(window: &WebviewWindow, shell: &Shell) {
    let former = shell.profile.window_size().unwrap_or(USUAL);
    match measure(window, shell.full_screen()) {
        Ok(size) if size.maximized => shell.profile.set_window_size(WindowSize {
            maximized: true,
            ..former
        }),
        Ok(size) => shell.profile.set_window_size(size),
        Err(error) => tracing::debug!(%error, "the window has no size"),
    }
}

fn measure(window: &WebviewWindow, full_screen: bool) -> tauri::Result<WindowSize> {
    let size = window.inner_size()?.to_logical(window.scale_factor()?);
    Ok(WindowSize {
        width: size.width,
        height: size.height,
        maximized: window.is_maximized()? || full_screen,
    })
}

/// Only to be called on the main thread, like everything of GTK. It looks at what WebKit looks at
/// for `prefers-color-scheme`; the desktop portal's choice has become a setting of GTK when the
/// window was built.
#[cfg(target_os = "linux")]
fn desktop_is_dark(_window: &WebviewWindow) -> bool {
    use gtk::prelude::GtkSettingsExt;
    let is_dark_name = |name: &str| name.ends_with("-dark") || name.ends_with(":dark");
    let chosen = std::env::var("GTK_THEME").is_ok_and(|name| is_dark_name(&name));
    let set = gtk::Settings::default().is_some_and(|settings| {
        let name = settings.gtk_theme_name();
        settings.is_gtk_application_prefer_dark_theme()
            || name.is_some_and(|name| is_dark_name(&name.to_lowercase()))
    });
    chosen || set
}

#[cfg(not(target_os = "linux"))]
fn desktop_is_dark(window: &WebviewWindow) -> bool {
    window
        .theme()
        .is_ok_and(|theme| theme == tauri::Theme::Dark)
}

fn canvas(theme: Theme, system_is_dark: bool) -> Color {
    match (theme, system_is_dark) {
        (Theme::Dark, _) | (Theme::System, true) => DARK,
        (Theme::Light, _) | (Theme::System, false) => LIGHT,
    }
}

/// Runs before the page is parsed, so that its first paint has the right colours.
fn theme_script(theme: Theme) -> String {
    let dark = match theme {
        Theme::Dark => "true",
        Theme::Light => "false",
        Theme::System => "matchMedia('(prefers-color-scheme: dark)').matches",
    };
    format!("document.documentElement.dataset.theme = {dark} ? 'dark' : 'light';")
}

/// See [`crate::rendering`]. Elsewhere than on Linux there is no such choice.
#[cfg(target_os = "linux")]
fn draw_without_compositing(window: &WebviewWindow) {
    use webkit2gtk::{HardwareAccelerationPolicy, SettingsExt, WebViewExt};
    let set = window.with_webview(|webview| {
        if let Some(settings) = webview.inner().settings() {
            settings.set_hardware_acceleration_policy(HardwareAccelerationPolicy::Never);
        }
    });
    if let Err(error) = set {
        tracing::warn!(%error, "the window draws with acceleration");
    }
}

#[cfg(not(target_os = "linux"))]
fn draw_without_compositing(_window: &WebviewWindow) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_paint_has_the_colours_that_were_chosen() {
        assert!(theme_script(Theme::Dark).contains("= true ?"));
        assert!(theme_script(Theme::Light).contains("= false ?"));
        assert!(theme_script(Theme::System).contains("prefers-color-scheme"));
        assert_eq!(canvas(Theme::Light, true), LIGHT);
        assert_eq!(canvas(Theme::System, true), DARK);
    }

    #[test]
    fn a_size_that_hides_the_window_is_not_taken() {
        let tiny = WindowSize {
            width: 1.0,
            ..USUAL
        };
        assert_eq!(sensible(tiny), USUAL);
        let nonsense = WindowSize {
            height: f64::NAN,
            ..USUAL
        };
        assert_eq!(sensible(nonsense), USUAL);
    }
}
