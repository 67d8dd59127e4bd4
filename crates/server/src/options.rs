//! The command line.

use std::net::SocketAddr;

use ahoy_signaling::ServerConfig;
use ahoy_signaling::room::{Limits, Rate};
use clap::Parser;
use clap::builder::RangedU64ValueParser;

/// A signaling server for Ahoy: hands out room numbers and lets the people in a room find each
/// other. Sound and picture do not pass through it.
#[derive(Debug, Parser)]
#[command(version, after_help = AFTER_HELP)]
pub(crate) struct Options {
    /// Address and port to listen on; may be given several times
    #[arg(
        long,
        env = "AHOY_SERVER_LISTEN",
        value_name = "ADDRESS:PORT",
        value_delimiter = ',',
        default_value = "[::]:24640"
    )]
    pub(crate) listen: Vec<SocketAddr>,

    /// Most open rooms, at most 90000: a tenth of all room numbers
    #[arg(long, env = "AHOY_SERVER_MAX_ROOMS", value_name = "N", default_value_t = Limits::default().rooms,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=90_000))]
    max_rooms: usize,

    /// Most open rooms that were opened from one address (IPv6: one /64 network)
    #[arg(long, env = "AHOY_SERVER_MAX_ROOMS_PER_ADDRESS", value_name = "N",
        default_value_t = Limits::default().rooms_per_address,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    max_rooms_per_address: usize,

    /// Most connections
    #[arg(long, env = "AHOY_SERVER_MAX_CONNECTIONS", value_name = "N",
        default_value_t = Limits::default().connections,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    max_connections: usize,

    /// Most connections from one address (IPv6: one /64 network). Behind a reverse proxy all come
    /// from one: set it as high as --max-connections there
    #[arg(long, env = "AHOY_SERVER_MAX_CONNECTIONS_PER_ADDRESS", value_name = "N",
        default_value_t = Limits::default().connections_per_address,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    max_connections_per_address: usize,

    /// Messages per second and connection that are always let through
    #[arg(long, env = "AHOY_SERVER_MESSAGE_RATE", value_name = "N",
        default_value_t = Limits::default().messages.per_second,
        value_parser = clap::value_parser!(u32).range(1..))]
    message_rate: u32,

    /// Messages per connection that are let through at once after a pause
    #[arg(long, env = "AHOY_SERVER_MESSAGE_BURST", value_name = "N",
        default_value_t = Limits::default().messages.burst,
        value_parser = clap::value_parser!(u32).range(20..))]
    message_burst: u32,

    /// Wrong room numbers per minute and address that are let through
    #[arg(long, env = "AHOY_SERVER_WRONG_NUMBERS", value_name = "N", default_value_t = 60,
        value_parser = clap::value_parser!(u32).range(60..))]
    wrong_numbers: u32,

    /// What to log: off, error, warn, info, debug or trace
    #[arg(
        long,
        env = "AHOY_SERVER_LOG",
        value_name = "LEVEL",
        default_value = "info"
    )]
    pub(crate) log: String,
}

const AFTER_HELP: &str = "\
Every option can also be set by an environment variable of the same name, such as \
AHOY_SERVER_LISTEN. The log names no rooms, people or addresses.

Exit codes: 0 stopped by SIGINT or SIGTERM, 2 wrong options, 3 cannot listen, 4 a listener broke.";

impl Options {
    pub(crate) fn config(&self) -> ServerConfig {
        let limits = Limits {
            rooms: self.max_rooms,
            rooms_per_address: self.max_rooms_per_address,
            connections: self.max_connections,
            connections_per_address: self.max_connections_per_address,
            messages: Rate {
                burst: self.message_burst,
                per_second: self.message_rate,
            },
            wrong_numbers: Rate {
                per_second: self.wrong_numbers / 60,
                ..Limits::default().wrong_numbers
            },
            ..Limits::default()
        };
        ServerConfig {
            limits,
            ..ServerConfig::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn without_options_the_librarys_defaults_hold() {
        let options = Options::parse_from(["ahoy-server"]);
        assert_eq!(options.config(), ServerConfig::default());
        assert_eq!(options.listen, ["[::]:24640".parse().expect("an address")]);
    }

    #[test]
    fn options_become_limits() {
        let options = Options::parse_from([
            "ahoy-server",
            "--listen=127.0.0.1:1",
            "--listen=[::1]:2",
            "--max-rooms=3",
            "--max-rooms-per-address=4",
            "--max-connections=5",
            "--max-connections-per-address=6",
            "--message-rate=7",
            "--message-burst=80",
            "--wrong-numbers=120",
        ]);
        let limits = options.config().limits;
        assert_eq!(options.listen.len(), 2);
        assert_eq!((limits.rooms, limits.rooms_per_address), (3, 4));
        assert_eq!((limits.connections, limits.connections_per_address), (5, 6));
        assert_eq!(
            limits.messages,
            Rate {
                burst: 80,
                per_second: 7
            }
        );
        assert_eq!(limits.wrong_numbers.per_second, 2);
    }

    #[test]
    fn nonsense_is_refused() {
        for wrong in [
            "--listen=nowhere",
            "--max-rooms=0",
            "--max-rooms=90001",
            "--message-burst=1",
            "--dance",
        ] {
            assert!(
                Options::try_parse_from(["ahoy-server", wrong]).is_err(),
                "{wrong}"
            );
        }
    }
}
