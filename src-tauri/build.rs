//! Checks the configuration, and has the binary rebuilt when the built interface changes.

use std::path::Path;

fn main() {
    // Cargo takes a path that does not exist for one that always changes.
    let interface = Path::new("../ui/dist");
    if interface.exists() {
        println!("cargo:rerun-if-changed={}", interface.display());
    }
    tauri_build::build();
}
