//! From the encode threads to the network: [`queues`], then one task, the [`writer`], that paces
//! what leaves: sound at once, then repairs from the [`history`] within their [`budget`], then
//! pictures.

mod budget;
mod history;
mod queues;
mod writer;

pub(super) use queues::{PayloadTypes, SendQueues};
pub(super) use writer::Writer;
