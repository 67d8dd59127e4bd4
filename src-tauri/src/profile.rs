//! What Ahoy keeps for a person between two starts, and what went wrong with it.
//!
//! Nothing here stops a call: what cannot be read begins anew, what cannot be written stays in
//! memory, and either is told as a [`Notice`].

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::recent_calls::{self, RecentCall};
use crate::settings::Settings;
use crate::store::{self, JsonFile, Loaded};

/// Something that the person should know, though everything goes on. The system's and the
/// parser's words about it are in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, specta::Type)]
pub(crate) struct Notice {
    /// What it is about.
    pub(crate) code: NoticeCode,
    /// The file it is about, with its folder; one that was set aside under its new name.
    pub(crate) file: String,
}

/// What a notice is about. The interface has a sentence for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, specta::Type)]
#[serde(rename_all = "camelCase")]
pub(crate) enum NoticeCode {
    /// The settings could not be understood; the file was kept under another name.
    SettingsSetAside,
    /// The settings could not be read.
    SettingsUnreadable,
    /// The settings are in effect, but were not written to disk.
    SettingsNotSaved,
    /// The list of recent calls could not be understood; the file was kept under another name.
    RecentCallsSetAside,
    /// The list of recent calls could not be read.
    RecentCallsUnreadable,
    /// The list of recent calls was not written to disk.
    RecentCallsNotSaved,
}

/// Size of the window when it was closed, in logical pixels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct WindowSize {
    /// Inner width.
    pub(crate) width: f64,
    /// Inner height.
    pub(crate) height: f64,
    /// Filled the screen; width and height are those of before.
    pub(crate) maximized: bool,
}

/// The files, and what they hold.
pub(crate) struct Profile {
    settings_file: JsonFile,
    recent_calls_file: JsonFile,
    window_file: JsonFile,
    settings: Mutex<Settings>,
    recent_calls: Mutex<Vec<RecentCall>>,
}

impl Profile {
    /// Reads what is in `folder`, and says what could not be read.
    pub(crate) fn open(folder: &Path) -> (Self, Vec<Notice>) {
        let settings_file = JsonFile::new(folder, "settings");
        let recent_calls_file = JsonFile::new(folder, "recent-calls");
        let mut notices = Vec::new();
        let settings = value_or_default(
            &settings_file,
            Settings::read,
            (NoticeCode::SettingsSetAside, NoticeCode::SettingsUnreadable),
            &mut notices,
        );
        let recent_calls = value_or_default(
            &recent_calls_file,
            store::plain,
            (
                NoticeCode::RecentCallsSetAside,
                NoticeCode::RecentCallsUnreadable,
            ),
            &mut notices,
        );
        let profile = Self {
            settings_file,
            recent_calls_file,
            window_file: JsonFile::new(folder, "window"),
            settings: Mutex::new(settings),
            recent_calls: Mutex::new(recent_calls),
        };
        (profile, notices)
    }

    /// The settings in effect.
    pub(crate) fn settings(&self) -> Settings {
        locked(&self.settings).clone()
    }

    /// Changes the settings and writes them. They are in effect even if that fails.
    ///
    /// # Errors
    /// They were not written.
    pub(crate) fn change_settings(
        &self,
        change: impl FnOnce(&mut Settings),
    ) -> Result<Settings, Notice> {
        let mut settings = locked(&self.settings);
        change(&mut settings);
        let written = self.settings_file.save(&*settings);
        written.map(|()| settings.clone()).map_err(|error| {
            self.settings_file
                .not_saved(NoticeCode::SettingsNotSaved, &error)
        })
    }

    /// The calls of the past, newest first.
    pub(crate) fn recent_calls(&self) -> Vec<RecentCall> {
        locked(&self.recent_calls).clone()
    }

    /// Adds a call, or puts one back.
    ///
    /// # Errors
    /// It was not written; it is in the list until Ahoy is closed.
    pub(crate) fn add_recent_call(&self, call: RecentCall) -> Result<Vec<RecentCall>, Notice> {
        self.change_recent_calls(|calls| recent_calls::add(calls, call))
    }

    /// Takes the call with this id out of the list.
    ///
    /// # Errors
    /// It was not written; it is out of the list until Ahoy is closed.
    pub(crate) fn remove_recent_call(&self, id: &str) -> Result<Vec<RecentCall>, Notice> {
        self.change_recent_calls(|calls| calls.retain(|call| call.id != id))
    }

    /// The size that the window last had.
    pub(crate) fn window_size(&self) -> Option<WindowSize> {
        match self.window_file.load(store::plain) {
            Loaded::Value(size) => Some(size),
            Loaded::Missing => None,
            // Not worth a notice: the window has its usual size.
            problem @ (Loaded::SetAside { .. } | Loaded::Unreadable(_)) => {
                tracing::warn!(?problem, "no window size");
                None
            }
        }
    }

    /// Remembers the size of the window.
    pub(crate) fn set_window_size(&self, size: WindowSize) {
        if let Err(error) = self.window_file.save(&size) {
            tracing::warn!(%error, "the window's size was not saved");
        }
    }

    /// Another window may have written to the list since it was read: its state on disk is what
    /// is changed.
    fn change_recent_calls(
        &self,
        change: impl FnOnce(&mut Vec<RecentCall>),
    ) -> Result<Vec<RecentCall>, Notice> {
        let mut calls = locked(&self.recent_calls);
        let file = &self.recent_calls_file;
        let lock = file.lock();
        if lock.is_ok()
            && let Loaded::Value(on_disk) = file.load(store::plain)
        {
            *calls = on_disk;
        }
        change(&mut calls);
        let written = lock.and_then(|_held| file.save(&*calls));
        written
            .map(|()| calls.clone())
            .map_err(|error| file.not_saved(NoticeCode::RecentCallsNotSaved, &error))
    }
}

impl JsonFile {
    fn not_saved(&self, code: NoticeCode, error: &std::io::Error) -> Notice {
        let file = self.path().display().to_string();
        tracing::warn!(file, %error, "not written");
        Notice { code, file }
    }
}

/// The folder of this platform for an application's settings, or the one that the environment
/// variable `AHOY_CONFIG_DIR` names.
pub(crate) fn config_folder() -> PathBuf {
    if let Some(folder) = std::env::var_os("AHOY_CONFIG_DIR").filter(|folder| !folder.is_empty()) {
        return folder.into();
    }
    directories::ProjectDirs::from("app", "Ahoy", "ahoy").map_or_else(
        // A user without a home: what is set lasts as long as the temporary folder.
        || std::env::temp_dir().join("ahoy"),
        |folders| folders.config_dir().to_owned(),
    )
}

fn value_or_default<T: Default>(
    file: &JsonFile,
    read: impl FnOnce(Value) -> Result<T, String>,
    (set_aside, unreadable): (NoticeCode, NoticeCode),
    notices: &mut Vec<Notice>,
) -> T {
    let (code, file, problem) = match file.load(read) {
        Loaded::Value(value) => return value,
        Loaded::Missing => return T::default(),
        Loaded::SetAside { kept_as, problem } => (set_aside, kept_as, problem),
        Loaded::Unreadable(error) => (unreadable, file.path(), error.to_string()),
    };
    let file = file.display().to_string();
    tracing::warn!(file, problem, "starting with defaults");
    notices.push(Notice { code, file });
    T::default()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks is whole at every moment.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(number: u64) -> RecentCall {
        RecentCall {
            id: number.to_string(),
            code: format!("{number}-a-b"),
            link: String::new(),
            server: None,
            names: vec!["Jon".to_owned()],
            started_at_ms: number,
            duration_ms: 1,
        }
    }

    #[test]
    fn settings_and_calls_outlive_a_restart() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let (profile, notices) = Profile::open(folder.path());
        assert_eq!(notices, []);
        profile
            .change_settings(|s| s.name = "Mira".into())
            .expect("written");
        profile.add_recent_call(call(1)).expect("written");
        let (again, notices) = Profile::open(folder.path());
        assert_eq!(notices, []);
        assert_eq!(again.settings().name, "Mira");
        assert_eq!(again.recent_calls(), [call(1)]);
    }

    #[test]
    fn a_broken_file_is_set_aside_and_told() {
        let folder = tempfile::tempdir().expect("temporary folder");
        std::fs::write(folder.path().join("settings.json"), "{\"name\": 7}").expect("written");
        let (profile, notices) = Profile::open(folder.path());
        assert_eq!(profile.settings(), Settings::default());
        let kept_as = folder.path().join("settings.broken-1.json");
        let notice = Notice {
            code: NoticeCode::SettingsSetAside,
            file: kept_as.display().to_string(),
        };
        assert_eq!(notices, [notice], "the old file, and no parser's words");
        assert!(kept_as.exists());
        profile
            .change_settings(|s| s.name = "Mira".into())
            .expect("written");
        assert_eq!(Profile::open(folder.path()).0.settings().name, "Mira");
    }

    #[test]
    fn what_cannot_be_written_is_still_in_effect() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let in_the_way = folder.path().join("file");
        std::fs::write(&in_the_way, "").expect("written");
        let (profile, notices) = Profile::open(&in_the_way);
        assert_eq!(notices.len(), 2, "neither file can be read: {notices:?}");
        assert!(notices[0].file.ends_with("settings.json"), "{notices:?}");
        let notice = profile
            .change_settings(|s| s.name = "Mira".into())
            .expect_err("not written");
        assert_eq!(notice.code, NoticeCode::SettingsNotSaved);
        assert_eq!(profile.settings().name, "Mira");
        let notice = profile.add_recent_call(call(1)).expect_err("not written");
        assert_eq!(notice.code, NoticeCode::RecentCallsNotSaved);
        assert_eq!(profile.recent_calls(), [call(1)]);
    }

    #[test]
    fn two_windows_share_one_list() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let (first, _) = Profile::open(folder.path());
        let (second, _) = Profile::open(folder.path());
        first.add_recent_call(call(1)).expect("written");
        let calls = second.add_recent_call(call(2)).expect("written");
        assert_eq!(calls, [call(2), call(1)]);
        let calls = first.remove_recent_call("1").expect("written");
        assert_eq!(calls, [call(2)]);
    }
}
