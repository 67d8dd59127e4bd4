//! A network in virtual time, to run the engine code in: seeded, so that every run is the same.
//!
//! Two links, forward and backward, each with a capacity that changes over time, a drop-tail
//! queue, jitter and loss. Over them run [`media::MediaFlow`]s, which are the real estimator,
//! pacer, ladder and allocation between a modelled encoder and a modelled receiver, and
//! [`tcp::TcpFlow`]s.

mod encoder;
mod link;
mod media;
mod metrics;
mod playout;
mod random;
mod receiver;
mod repairs;
mod scenarios;
mod tcp;
mod world;

pub use link::{Jitter, LinkConfig, LossModel};
pub use media::MediaConfig;
pub use metrics::{Outcome, Sample, Summary, Trace};
pub use scenarios::{
    all, competing, link_of, named, rfc8867, start, steady, step, with_loss, with_tcp,
};
pub use tcp::{TcpConfig, TcpVariant};
pub use world::{FlowConfig, FlowKind, Scenario, run};
