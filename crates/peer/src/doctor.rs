//! `ahoy-peer doctor`

use ahoy_ice::doctor::{Finding, Severity, examine};
use ahoy_ice::stream::tls::ExtraRoots;

use crate::exit::Failure;
use crate::ice::IceOptions;
use crate::say;

/// Looks at the network and prints what is found, the worst first.
///
/// # Errors
/// Servers that cannot be used.
pub(crate) async fn run(ice: IceOptions, json: bool) -> Result<(), Failure> {
    let servers = ice.servers(false)?;
    let findings = examine(&servers, &ExtraRoots::default()).await;
    if json {
        let text = serde_json::to_string_pretty(&findings)
            .map_err(|error| Failure::other(format!("The findings make no JSON: {error}.")))?;
        say::line(text);
    } else {
        for finding in &findings {
            say::line(in_words(finding));
        }
    }
    Ok(())
}

fn in_words(finding: &Finding) -> String {
    let mark = match finding.severity() {
        Severity::Fine => "ok     ",
        Severity::Note => "note   ",
        Severity::Warning => "warning",
        Severity::Problem => "problem",
    };
    match finding.remedy() {
        Some(remedy) => format!("{mark}  {} {remedy}", finding.sentence()),
        None => format!("{mark}  {}", finding.sentence()),
    }
}
