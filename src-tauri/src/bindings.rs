//! The commands, and their TypeScript description in `ui/src/bindings.ts`.

use tauri_specta::{Builder, ErrorHandlingMode, collect_commands};

use crate::commands;

/// All commands with their types.
pub(crate) fn builder() -> Builder<tauri::Wry> {
    Builder::new()
        .error_handling(ErrorHandlingMode::Result)
        .disable_serde_phases()
        .commands(collect_commands![
            commands::get_app_state,
            commands::watch_call,
            commands::new_call,
            commands::join_call,
            commands::reopen_call,
            commands::check_code,
            commands::complete_word,
            commands::hang_up,
            commands::renew_code,
            commands::set_microphone_muted,
            commands::set_camera_on,
            commands::select_camera,
            commands::select_microphone,
            commands::select_speaker,
            commands::set_video_constraints,
            commands::set_processing,
            commands::save_settings,
            commands::examine_connection,
            commands::list_devices,
            commands::play_test_sound,
            commands::remove_recent_call,
            commands::restore_recent_call,
            commands::copy_text,
            commands::get_stats,
            commands::open_video,
            commands::open_raw_video,
            commands::set_fullscreen,
            commands::close_window,
        ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use specta_typescript::Typescript;

    /// With `UPDATE_BINDINGS=1` in the environment the file is written instead of compared.
    #[test]
    fn the_interface_was_compiled_against_these_commands() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../ui/src/bindings.ts");
        let folder = tempfile::tempdir().expect("temporary folder");
        let fresh = folder.path().join("bindings.ts");
        builder()
            .export(Typescript::default(), &fresh)
            .expect("every type has a TypeScript description");
        let generated = std::fs::read_to_string(fresh).expect("just written");
        if std::env::var_os("UPDATE_BINDINGS").is_some() {
            std::fs::write(path, &generated).expect("ui/src can be written");
        }
        let checked_in = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            checked_in == generated,
            "ui/src/bindings.ts is stale: UPDATE_BINDINGS=1 cargo test -p ahoy bindings"
        );
    }
}
