//! `cargo tauri …` right after a clone: runs the Tauri command line that the interface's npm
//! packages bring along, and installs those first if they are missing.

use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus};

use anyhow::{Context, ensure};

fn main() -> anyhow::Result<ExitCode> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("the xtask lies in a folder of the workspace")?;
    let tauri = root.join("ui/node_modules/@tauri-apps/cli/tauri.js");
    if !tauri.exists() {
        install_npm_packages(root)?;
    }
    let status = run(Command::new("node")
        .arg(tauri)
        .args(std::env::args_os().skip(1))
        .current_dir(root))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

fn install_npm_packages(root: &Path) -> anyhow::Result<()> {
    // On Windows npm is a script, which only its full name starts.
    let npm = if cfg!(windows) { "npm.cmd" } else { "npm" };
    let status = run(Command::new(npm)
        .args(["ci", "--no-audit", "--no-fund"])
        .current_dir(root.join("ui")))?;
    ensure!(
        status.success(),
        "npm could not install the packages of the interface"
    );
    Ok(())
}

fn run(command: &mut Command) -> anyhow::Result<ExitStatus> {
    command.status().with_context(|| {
        format!(
            "{} could not be started; is Node installed?",
            command.get_program().display()
        )
    })
}
