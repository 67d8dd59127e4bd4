//! How many files and sockets the system lets this process have.

/// Sockets are files: raises the soft limit to the hard one, and gives what it is then.
#[cfg(unix)]
pub(crate) fn raise_limit() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let before = getrlimit(Resource::Nofile);
    if before.current != before.maximum {
        let wanted = Rlimit {
            current: before.maximum,
            maximum: before.maximum,
        };
        // Then the old one holds, and is reported.
        let _ = setrlimit(Resource::Nofile, wanted);
    }
    getrlimit(Resource::Nofile).current
}

/// Other systems have no such limit for sockets.
#[cfg(not(unix))]
pub(crate) fn raise_limit() -> Option<u64> {
    None
}
