//! Signaling: how two people who share a room code find each other.
//!
//! A server hands out room numbers and forwards sealed messages between the people in
//! one room. This crate holds both ends: [`server`] as a library that the app embeds and that
//! `ahoy-server` wraps, and [`client`]. Between them travel the messages of [`message`], which
//! `docs/signaling-protocol.md` describes. It knows neither media nor peer connections.
//!
//! The words of a room code never reach a server: nothing in [`message`] can carry them.

pub mod address;
pub mod client;
pub mod discovery;
pub mod embedded;
pub mod invite;
pub mod link_secret;
pub mod message;
pub mod room;
pub mod room_code;
pub mod server;

mod tls;

pub use address::ServerAddress;
pub use client::{
    ConnectOptions, Entry, LastingLink, Reconnect, Seat, SignalingClient, SignalingError,
    SignalingEvent, SignalingEvents, SignalingLink, SignalingReceiver, SignalingSender,
};
pub use discovery::NearbyServers;
pub use embedded::{EmbeddedConfig, EmbeddedServer};
pub use invite::Invite;
pub use message::{ClientMessage, ServerMessage};
pub use room_code::{CodeWords, RoomCode, RoomNumber};
pub use server::{Server, ServerConfig};
