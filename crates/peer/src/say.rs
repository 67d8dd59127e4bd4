//! Lines for whoever started the program. A reader that has gone away is no reason to end a call.

use std::fmt::Display;
use std::io::Write;

/// A line on standard output.
pub(crate) fn line(text: impl Display) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// A sentence on standard error.
pub(crate) fn error(text: impl Display) {
    let _ = writeln!(std::io::stderr(), "ahoy-peer: {text}");
}
