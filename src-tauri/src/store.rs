//! JSON files that survive crashes and full disks: written whole or not at all, and set aside
//! instead of lost when they cannot be understood.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// One JSON file in a folder.
#[derive(Debug, Clone)]
pub(crate) struct JsonFile {
    folder: PathBuf,
    stem: &'static str,
}

/// What a file held.
#[derive(Debug)]
pub(crate) enum Loaded<T> {
    /// There is no such file: the first start.
    Missing,
    /// It was read.
    Value(T),
    /// It could not be understood and now has the name `kept_as`.
    SetAside {
        /// Where it can be looked at.
        kept_as: PathBuf,
        /// What was wrong with it.
        problem: String,
    },
    /// It is there, but the system does not let us read it, or set it aside.
    Unreadable(io::Error),
}

impl JsonFile {
    /// The file `stem.json` in `folder`; neither needs to exist.
    pub(crate) fn new(folder: &Path, stem: &'static str) -> Self {
        Self {
            folder: folder.to_owned(),
            stem,
        }
    }

    /// Where it lies.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.join(format!("{}.json", self.stem))
    }

    /// Reads the file and has `read` make a value of it, or say what is wrong.
    pub(crate) fn load<T>(&self, read: impl FnOnce(Value) -> Result<T, String>) -> Loaded<T> {
        let text = match fs::read(self.path()) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Loaded::Missing,
            Err(error) => return Loaded::Unreadable(error),
        };
        match parse(&text).and_then(read) {
            Ok(value) => Loaded::Value(value),
            Err(problem) => match self.set_aside() {
                Ok(kept_as) => Loaded::SetAside { kept_as, problem },
                Err(error) => Loaded::Unreadable(error),
            },
        }
    }

    /// Replaces the file: afterwards it holds `value`, or after an error what it held before.
    /// Only its owner can read it.
    ///
    /// # Errors
    /// What the system says about the folder or the disk.
    pub(crate) fn save<T: Serialize>(&self, value: &T) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let mut temporary = tempfile::Builder::new()
            .prefix(&format!(".{}-", self.stem))
            .suffix(".tmp")
            .tempfile_in(&self.folder)?;
        serde_json::to_writer_pretty(&mut temporary, value)?;
        temporary.write_all(b"\n")?;
        temporary.as_file().sync_all()?;
        temporary
            .persist(self.path())
            .map_err(|failed| failed.error)?;
        sync_folder(&self.folder)
    }

    /// Keeps other windows of Ahoy that call this from changing the file, until the result is
    /// dropped.
    ///
    /// # Errors
    /// What the system says about the lock file beside it.
    pub(crate) fn lock(&self) -> io::Result<File> {
        fs::create_dir_all(&self.folder)?;
        let lock = File::create(self.folder.join(format!(".{}.lock", self.stem)))?;
        lock.lock()?;
        Ok(lock)
    }

    fn set_aside(&self) -> io::Result<PathBuf> {
        let free = (1..)
            .map(|number| {
                self.folder
                    .join(format!("{}.broken-{number}.json", self.stem))
            })
            .find(|path| !path.exists())
            .ok_or(io::ErrorKind::AlreadyExists)?;
        fs::rename(self.path(), &free)?;
        Ok(free)
    }
}

/// Makes a value of well-formed JSON, as it stands.
///
/// # Errors
/// The JSON is of another shape.
pub(crate) fn plain<T: DeserializeOwned>(json: Value) -> Result<T, String> {
    serde_json::from_value(json).map_err(|error| error.to_string())
}

fn parse(text: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(text).map_err(|error| error.to_string())
}

/// Makes the new name in the folder as durable as the file itself.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Windows has no such call: the file system's journal does it.
#[cfg(not(unix))]
fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anything(json: Value) -> Result<Vec<u32>, String> {
        plain(json)
    }

    #[test]
    fn what_was_saved_is_loaded_and_nothing_else_stays() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let file = JsonFile::new(&folder.path().join("new"), "list");
        assert!(matches!(file.load(anything), Loaded::Missing));
        file.save(&vec![1, 2]).expect("saved");
        file.save(&vec![3]).expect("saved again");
        assert!(matches!(file.load(anything), Loaded::Value(list) if list == [3]));
        let names = fs::read_dir(folder.path().join("new"))
            .expect("folder")
            .count();
        assert_eq!(names, 1);
    }

    #[test]
    fn broken_files_are_kept_under_free_names() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let file = JsonFile::new(folder.path(), "list");
        for (number, broken) in [(1, "[1, 2"), (2, "{\"a\": 1}")] {
            fs::write(file.path(), broken).expect("written");
            let Loaded::SetAside { kept_as, problem } = file.load(anything) else {
                panic!("a broken file was taken");
            };
            assert_eq!(
                kept_as,
                folder.path().join(format!("list.broken-{number}.json"))
            );
            assert_eq!(fs::read_to_string(kept_as).expect("kept"), broken);
            assert!(!problem.is_empty());
            assert!(matches!(file.load(anything), Loaded::Missing));
        }
    }

    #[test]
    fn nonsense_is_set_aside_too() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let file = JsonFile::new(folder.path(), "list");
        file.save(&vec![1]).expect("saved");
        let loaded = file.load(|_| Err::<(), _>("too short".to_owned()));
        assert!(matches!(loaded, Loaded::SetAside { problem, .. } if problem == "too short"));
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_error_not_a_panic() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let in_the_way = folder.path().join("file");
        fs::write(&in_the_way, "").expect("written");
        let file = JsonFile::new(&in_the_way, "list");
        assert!(file.save(&vec![1]).is_err());
        assert!(file.lock().is_err());
        assert!(matches!(file.load(anything), Loaded::Unreadable(_)));
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_reads_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("temporary folder");
        let file = JsonFile::new(folder.path(), "list");
        file.save(&vec![1]).expect("saved");
        let mode = fs::metadata(file.path())
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
