//! Ahoy's window: the interface in a webview, on top of the call engine. Everything that makes a
//! call is in the crates below; here it is given a window, settings and an interface's commands.

#![cfg_attr(not(debug_assertions), windows_subsystem = "windows")]

mod bindings;
mod code_check;
mod commands;
mod credits;
mod error;
mod events;
mod frame_header;
mod profile;
mod raw_video;
mod recent_calls;
mod rendering;
mod settings;
mod shell;
mod store;
mod video;
mod video_socket;
mod view;
mod window;

use std::io::IsTerminal;
use std::sync::Arc;

use anyhow::ensure;
use clap::Parser;
use tauri::Manager;
use tracing_subscriber::EnvFilter;

use crate::profile::Profile;
use crate::shell::Shell;

/// What is logged unless the environment variable `AHOY_LOG` says something else.
const LOGGED: &str = "warn,rtc=error,ahoy=info,ahoy_call=info,ahoy_audio=info,ahoy_video=info,ahoy_media=info,ahoy_signaling=info";

/// Ahoy: video calls by room code.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// An invite link: Ahoy opens with it and asks before it joins
    invite: Option<String>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    log_to_standard_error();
    frame_header::start_clock();
    ensure!(
        has_screen(),
        "there is no screen: neither DISPLAY nor WAYLAND_DISPLAY is set"
    );
    run(arguments)
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    let bindings = bindings::builder();
    tauri::Builder::default()
        .plugin(tauri_plugin_clipboard_manager::init())
        .invoke_handler(bindings.invoke_handler())
        .on_window_event(window::handle)
        .setup(move |app| {
            let software_rendering = rendering::is_software();
            let (profile, notices) = Profile::open(&profile::config_folder());
            let shell = Shell::start(profile, notices, arguments.invite, software_rendering);
            app.manage(Arc::clone(&shell));
            window::open(app, &shell, software_rendering)?;
            tauri::async_runtime::spawn(window::close_on_signal(app.handle().clone()));
            Ok(())
        })
        .run(tauri::generate_context!())?;
    Ok(())
}

fn log_to_standard_error() {
    let filter = EnvFilter::try_from_env("AHOY_LOG").unwrap_or_else(|_| EnvFilter::new(LOGGED));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    // A panic ends its own thread or task and nothing else; the call goes on without it.
    std::panic::set_hook(Box::new(|panic| {
        let backtrace = std::backtrace::Backtrace::capture();
        tracing::error!("{panic}\n{backtrace}");
    }));
}

/// GTK ends the process without a word that helps when there is none.
fn has_screen() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !cfg!(target_os = "linux") || set("DISPLAY") || set("WAYLAND_DISPLAY")
}
