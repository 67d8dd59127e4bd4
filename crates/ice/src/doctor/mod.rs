//! What this network lets through, and what to do about the rest.
//!
//! [`observe`] asks the servers, [`conclude()`] makes [`Finding`]s of the answers, and a finding
//! says itself in a sentence.

mod allocation;
mod binding;
mod conclude;
mod finding;
mod observe;

pub use conclude::conclude;
pub use finding::{Finding, Severity};
pub use observe::{
    Filtering, Ipv6, Mapping, Nat, Observations, ProbeResult, ServerObservation, observe,
};

use crate::server::IceServer;
use crate::stream::tls::ExtraRoots;

/// Looks at the network with these servers. Takes some seconds when something does not answer.
pub async fn examine(servers: &[IceServer], roots: &ExtraRoots) -> Vec<Finding> {
    conclude(&observe(servers, roots).await)
}
