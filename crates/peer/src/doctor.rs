//! `ahoy-peer doctor`

use ahoy_call::doctor::{Check, CheckSeverity, examine};
use ahoy_signaling::address::ServerAddress;

use crate::exit::Failure;
use crate::ice::IceOptions;
use crate::say;

/// Looks at the server, the network and the devices, and prints what is found, the worst first.
///
/// # Errors
/// Servers that cannot be used.
pub(crate) async fn run(
    server: Option<ServerAddress>,
    ice: IceOptions,
    json: bool,
) -> Result<(), Failure> {
    let checks = examine(server.as_ref(), ice.servers(false)?).await;
    if json {
        let text = serde_json::to_string_pretty(&checks)
            .map_err(|error| Failure::other(format!("The findings make no JSON: {error}.")))?;
        say::line(text);
    } else {
        for check in &checks {
            say::line(in_words(check));
        }
    }
    Ok(())
}

fn in_words(check: &Check) -> String {
    let mark = match check.severity {
        CheckSeverity::Fine => "ok     ",
        CheckSeverity::Note => "note   ",
        CheckSeverity::Warning => "warning",
        CheckSeverity::Problem => "problem",
    };
    match &check.remedy {
        Some(remedy) => format!("{mark}  {} {remedy}", check.sentence),
        None => format!("{mark}  {}", check.sentence),
    }
}
