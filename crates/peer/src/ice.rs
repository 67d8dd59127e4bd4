//! STUN and TURN servers on the command line.

use std::fmt;
use std::str::FromStr;

use ahoy_ice::server::{IceServer, IceUri, Service, check_servers};
use clap::Args;

use crate::exit::{Exit, Failure};

/// Which servers help to find a way.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct IceOptions {
    /// STUN or TURN server, such as stun:HOST, turn:HOST?transport=udp or turns:HOST:443; may be
    /// repeated
    #[arg(long = "ice-server", value_name = "URL")]
    servers: Vec<IceUri>,

    /// User name for the TURN servers
    #[arg(long = "ice-username", value_name = "NAME", env = "AHOY_ICE_USERNAME")]
    username: Option<String>,

    /// Password for the TURN servers; better in AHOY_ICE_CREDENTIAL, out of sight of other users
    #[arg(
        long = "ice-credential",
        value_name = "PASSWORD",
        env = "AHOY_ICE_CREDENTIAL",
        hide_env_values = true
    )]
    credential: Option<Secret>,
}

impl IceOptions {
    /// The servers, checked.
    ///
    /// # Errors
    /// [`Exit::BadArguments`]
    pub(crate) fn servers(&self, relay_only: bool) -> Result<Vec<IceServer>, Failure> {
        let (stun, turn): (Vec<IceUri>, Vec<IceUri>) = self
            .servers
            .iter()
            .cloned()
            .partition(|uri| uri.service() == Service::Stun);
        let credential = self.credential.as_ref().map(|secret| secret.0.as_str());
        let servers = [
            IceServer {
                urls: stun,
                username: String::new(),
                credential: String::new(),
            },
            IceServer {
                urls: turn,
                username: self.username.clone().unwrap_or_default(),
                credential: credential.unwrap_or_default().to_owned(),
            },
        ];
        let servers: Vec<_> = servers
            .into_iter()
            .filter(|server| !server.urls.is_empty())
            .collect();
        check_servers(&servers, relay_only).map_err(|error| {
            Failure::new(
                Exit::BadArguments,
                format!("The STUN and TURN servers cannot be used: {error}."),
            )
        })?;
        Ok(servers)
    }
}

/// A text that no debug output shows.
#[derive(Clone)]
struct Secret(String);

impl FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        ice: IceOptions,
    }

    fn options(arguments: &str) -> IceOptions {
        Line::parse_from(std::iter::once("x").chain(arguments.split(' '))).ice
    }

    #[test]
    fn user_name_and_password_are_for_turn() {
        let options = options(
            "--ice-server stun:a.example --ice-server turn:b.example --ice-server turns:b.example \
             --ice-username u --ice-credential some-secret",
        );
        assert!(!format!("{options:?}").contains("some-secret"));
        let servers = options.servers(true).expect("usable");
        assert_eq!(servers.len(), 2);
        assert!(servers[0].username.is_empty() && servers[1].username == "u");
        assert_eq!(servers[1].urls.len(), 2);
    }

    #[test]
    fn what_is_missing_is_told() {
        let failure = options("--ice-server turn:b.example").servers(false);
        let failure = failure.expect_err("no password");
        assert_eq!(failure.exit, Exit::BadArguments);
        assert!(failure.message.contains("user name"), "{}", failure.message);
        let stun = options("--ice-server stun:a.example");
        assert!(stun.servers(false).is_ok() && stun.servers(true).is_err());
        assert!(Line::try_parse_from(["x", "--ice-server", "stuns:a.example"]).is_err());
    }
}
