//! What the fuzz targets have in common. How to run them is in `docs/development.md`.

#[cfg(feature = "audio")]
pub mod audio;
pub mod heap;
pub mod tracked;
