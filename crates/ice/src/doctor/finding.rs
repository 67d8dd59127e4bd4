//! What the doctor says: one sentence per finding, and what to do. Pure.

use std::fmt;
use std::time::Duration;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::server::{IceUri, ServerTransport};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// As it should be.
    Fine,
    /// Good to know.
    Note,
    /// Calls work, some of them worse.
    Warning,
    /// Calls fail, some or all.
    Problem,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Neither Wi-Fi nor cable.
    NoNetwork,
    /// No name could be resolved.
    NoNames,
    /// One name could not be resolved.
    UnknownName {
        /// Which.
        host: String,
    },
    /// There is nobody to ask.
    NoServers,
    /// No server answers in any way.
    NothingAnswers,
    /// UDP gets through.
    UdpWorks,
    /// UDP does not get through, streams do.
    UdpBlocked {
        /// The fastest relay over a stream, and the way there and back; `None` when there is none.
        relay: Option<(IceUri, Duration)>,
    },
    /// A STUN server answers.
    StunAnswers {
        /// Which.
        uri: IceUri,
        /// There and back.
        round_trip: Duration,
    },
    /// A STUN server does not answer.
    StunSilent {
        /// Which.
        uri: IceUri,
    },
    /// A TURN server gave a relay.
    RelayWorks {
        /// Which.
        uri: IceUri,
        /// There and back.
        round_trip: Duration,
    },
    /// A TURN server does not answer, or cannot be reached.
    RelaySilent {
        /// Which.
        uri: IceUri,
    },
    /// A TURN server knows another user name or password.
    RelayWrongCredential {
        /// Which.
        uri: IceUri,
    },
    /// A TURN server shows a certificate that is not trusted or is another host's.
    RelayBadCertificate {
        /// Which.
        uri: IceUri,
    },
    /// A TURN server refused.
    RelayRefused {
        /// Which.
        uri: IceUri,
        /// A code of RFC 8656 section 19.
        code: u16,
    },
    /// No TURN server is known.
    NoRelay,
    /// The address is public.
    NoNat,
    /// Everybody sees the same outer address.
    NatPassable,
    /// Everybody sees another outer address.
    NatSymmetric {
        /// Whether there is a relay for it.
        relayed: bool,
    },
    /// Translated; how is not known.
    NatUnknown,
    /// IPv6 gets through.
    Ipv6Works,
    /// There are IPv6 addresses that lead nowhere.
    Ipv6Broken,
    /// No IPv6.
    NoIpv6,
}

impl Finding {
    /// Its name for programs; does not change.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoNetwork => "no-network",
            Self::NoNames => "no-names",
            Self::UnknownName { .. } => "unknown-name",
            Self::NoServers => "no-servers",
            Self::NothingAnswers => "nothing-answers",
            Self::UdpWorks => "udp-works",
            Self::UdpBlocked { .. } => "udp-blocked",
            Self::StunAnswers { .. } => "stun-answers",
            Self::StunSilent { .. } => "stun-silent",
            Self::RelayWorks { .. } => "relay-works",
            Self::RelaySilent { .. } => "relay-silent",
            Self::RelayWrongCredential { .. } => "relay-wrong-credential",
            Self::RelayBadCertificate { .. } => "relay-bad-certificate",
            Self::RelayRefused { .. } => "relay-refused",
            Self::NoRelay => "no-relay",
            Self::NoNat => "no-nat",
            Self::NatPassable => "nat-passable",
            Self::NatSymmetric { .. } => "nat-symmetric",
            Self::NatUnknown => "nat-unknown",
            Self::Ipv6Works => "ipv6-works",
            Self::Ipv6Broken => "ipv6-broken",
            Self::NoIpv6 => "no-ipv6",
        }
    }

    /// How bad it is.
    pub const fn severity(&self) -> Severity {
        match self {
            Self::UdpWorks
            | Self::StunAnswers { .. }
            | Self::RelayWorks { .. }
            | Self::NoNat
            | Self::NatPassable
            | Self::Ipv6Works => Severity::Fine,
            Self::NoServers
            | Self::NoRelay
            | Self::NatUnknown
            | Self::NatSymmetric { relayed: true }
            | Self::NoIpv6 => Severity::Note,
            Self::UnknownName { .. }
            | Self::UdpBlocked { relay: Some(_) }
            | Self::StunSilent { .. }
            | Self::RelaySilent { .. }
            | Self::RelayWrongCredential { .. }
            | Self::RelayBadCertificate { .. }
            | Self::RelayRefused { .. }
            | Self::Ipv6Broken => Severity::Warning,
            Self::NoNetwork
            | Self::NoNames
            | Self::NothingAnswers
            | Self::UdpBlocked { relay: None }
            | Self::NatSymmetric { relayed: false } => Severity::Problem,
        }
    }

    /// One sentence.
    pub fn sentence(&self) -> String {
        match self {
            Self::NoNetwork => "This computer is not connected to any network.".to_owned(),
            Self::NoNames => "No server name can be looked up in this network.".to_owned(),
            Self::UnknownName { host } => format!("The name {host} is not known."),
            Self::NoServers => {
                "No STUN or TURN server is set, so calls work within one network only.".to_owned()
            }
            Self::NothingAnswers => "None of the STUN and TURN servers answers.".to_owned(),
            Self::UdpWorks => "UDP gets through, so calls can be direct.".to_owned(),
            Self::UdpBlocked {
                relay: Some((uri, round_trip)),
            } => format!(
                "This network blocks UDP. Ahoy is relayed over {} through {}: expect about {} \
                 more delay.",
                uri.transport(),
                uri.host(),
                Ms(*round_trip)
            ),
            Self::UdpBlocked { relay: None } => {
                "This network blocks UDP, and no relay over TCP or TLS answers.".to_owned()
            }
            Self::StunAnswers { uri, round_trip } => format!(
                "The STUN server {} answers in {}.",
                uri.host(),
                Ms(*round_trip)
            ),
            Self::StunSilent { uri } => {
                format!("The STUN server {} does not answer.", uri.host())
            }
            Self::RelayWorks { uri, round_trip } => {
                format!("{} relays, {} away.", Relay(uri), Ms(*round_trip))
            }
            Self::RelaySilent { uri } => format!("{} cannot be reached.", Relay(uri)),
            Self::RelayWrongCredential { uri } => {
                format!("{} does not accept the user name or password.", Relay(uri))
            }
            Self::RelayBadCertificate { uri } => {
                format!(
                    "{} shows a certificate that is not valid for it.",
                    Relay(uri)
                )
            }
            Self::RelayRefused { uri, code } => {
                format!("{} refuses to relay (error {code}).", Relay(uri))
            }
            Self::NoRelay => {
                "No TURN server is set, so some networks cannot reach each other.".to_owned()
            }
            Self::NoNat => "This computer has a public address.".to_owned(),
            Self::NatPassable => "The router lets direct calls through.".to_owned(),
            Self::NatSymmetric { relayed: true } => {
                "The router gives every connection another port, so many calls are relayed."
                    .to_owned()
            }
            Self::NatSymmetric { relayed: false } => {
                "The router gives every connection another port, and there is no relay: many \
                 calls will not connect."
                    .to_owned()
            }
            Self::NatUnknown => {
                "There is a router in between; how it treats calls could not be found out."
                    .to_owned()
            }
            Self::Ipv6Works => "IPv6 gets through.".to_owned(),
            Self::Ipv6Broken => "This computer has an IPv6 address that leads nowhere.".to_owned(),
            Self::NoIpv6 => "This network has no IPv6.".to_owned(),
        }
    }

    /// What to do, where there is something to do.
    pub fn remedy(&self) -> Option<String> {
        let text = match self {
            Self::NoNetwork => "Connect to Wi-Fi or plug in a network cable.".to_owned(),
            Self::NoNames => {
                "Restart the router, or choose another DNS server in the network settings."
                    .to_owned()
            }
            Self::UnknownName { .. } => {
                "Check how the server is spelled in the settings.".to_owned()
            }
            Self::NoServers => {
                "Set a STUN and a TURN server, or use a signaling server that brings them."
                    .to_owned()
            }
            Self::NothingAnswers => {
                "Check that web pages open; if they do, a firewall keeps Ahoy out: allow Ahoy in \
                 it, or ask whoever runs the network."
                    .to_owned()
            }
            Self::UdpBlocked { relay: Some(_) } => {
                "For less delay, ask whoever runs the network to allow UDP.".to_owned()
            }
            Self::UdpBlocked { relay: None } => {
                "Set a TURN server with TLS on port 443, or ask whoever runs the network to allow \
                 UDP."
                    .to_owned()
            }
            Self::StunSilent { .. } => {
                "Check the server's address and port, or remove it.".to_owned()
            }
            Self::RelaySilent { uri } => format!(
                "Check the server's address, and that its firewall lets {} port {} in.",
                match uri.transport() {
                    ServerTransport::Udp => "UDP",
                    ServerTransport::Tcp | ServerTransport::Tls => "TCP",
                },
                uri.port()
            ),
            Self::RelayWrongCredential { .. } => {
                "Correct user name and password in the settings; if the server hands them out, \
                 check its shared secret and both clocks."
                    .to_owned()
            }
            Self::RelayBadCertificate { uri } => format!(
                "Give the server a certificate for {} that this computer trusts, and check this \
                 computer's clock.",
                uri.host()
            ),
            Self::RelayRefused {
                code: 486 | 508, ..
            } => "The server is full: try later, or raise its limits.".to_owned(),
            Self::RelayRefused { .. } => "See what the server's log says about it.".to_owned(),
            Self::NoRelay => {
                "Set a TURN server, or use a signaling server that brings one.".to_owned()
            }
            Self::NatSymmetric { relayed: false } => "Set a TURN server.".to_owned(),
            Self::Ipv6Broken => {
                "Restart the router, or switch IPv6 off in the network settings.".to_owned()
            }
            Self::UdpWorks
            | Self::StunAnswers { .. }
            | Self::RelayWorks { .. }
            | Self::NoNat
            | Self::NatPassable
            | Self::NatSymmetric { relayed: true }
            | Self::NatUnknown
            | Self::Ipv6Works
            | Self::NoIpv6 => return None,
        };
        Some(text)
    }

    /// The server it is about.
    pub const fn server(&self) -> Option<&IceUri> {
        match self {
            Self::StunAnswers { uri, .. }
            | Self::StunSilent { uri }
            | Self::RelayWorks { uri, .. }
            | Self::RelaySilent { uri }
            | Self::RelayWrongCredential { uri }
            | Self::RelayBadCertificate { uri }
            | Self::RelayRefused { uri, .. }
            | Self::UdpBlocked {
                relay: Some((uri, _)),
            } => Some(uri),
            _ => None,
        }
    }

    /// There and back, where it was measured.
    pub const fn round_trip(&self) -> Option<Duration> {
        match self {
            Self::StunAnswers { round_trip, .. }
            | Self::RelayWorks { round_trip, .. }
            | Self::UdpBlocked {
                relay: Some((_, round_trip)),
            } => Some(*round_trip),
            _ => None,
        }
    }
}

impl Serialize for Finding {
    /// `{ code, severity, sentence, remedy?, server?, roundTripMs? }`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("code", self.code())?;
        map.serialize_entry("severity", &self.severity())?;
        map.serialize_entry("sentence", &self.sentence())?;
        if let Some(remedy) = self.remedy() {
            map.serialize_entry("remedy", &remedy)?;
        }
        if let Some(server) = self.server() {
            map.serialize_entry("server", server)?;
        }
        if let Some(round_trip) = self.round_trip() {
            map.serialize_entry("roundTripMs", &(round_trip.as_secs_f64() * 1000.0))?;
        }
        map.end()
    }
}

/// Whole milliseconds, at least one.
struct Ms(Duration);

impl fmt::Display for Ms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0} ms", (self.0.as_secs_f64() * 1000.0).max(1.0))
    }
}

struct Relay<'a>(&'a IceUri);

impl fmt::Display for Relay<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "The TURN server {} over {}",
            self.0.host(),
            self.0.transport()
        )
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn uri(text: &str) -> IceUri {
        text.parse().expect("a URI")
    }

    /// One of each.
    pub(crate) fn all() -> Vec<Finding> {
        let turn = || uri("turn:turn.example.org");
        let round_trip = Duration::from_micros(12_400);
        vec![
            Finding::NoNetwork,
            Finding::NoNames,
            Finding::UnknownName {
                host: "stun.example.org".to_owned(),
            },
            Finding::NoServers,
            Finding::NothingAnswers,
            Finding::UdpWorks,
            Finding::UdpBlocked {
                relay: Some((uri("turns:turn.example.org:443"), Duration::from_millis(30))),
            },
            Finding::UdpBlocked { relay: None },
            Finding::StunAnswers {
                uri: uri("stun:stun.example.org"),
                round_trip,
            },
            Finding::StunSilent {
                uri: uri("stun:stun.example.org"),
            },
            Finding::RelayWorks {
                uri: turn(),
                round_trip,
            },
            Finding::RelaySilent { uri: turn() },
            Finding::RelayWrongCredential { uri: turn() },
            Finding::RelayBadCertificate {
                uri: uri("turns:turn.example.org"),
            },
            Finding::RelayRefused {
                uri: turn(),
                code: 486,
            },
            Finding::NoRelay,
            Finding::NoNat,
            Finding::NatPassable,
            Finding::NatSymmetric { relayed: true },
            Finding::NatSymmetric { relayed: false },
            Finding::NatUnknown,
            Finding::Ipv6Works,
            Finding::Ipv6Broken,
            Finding::NoIpv6,
        ]
    }

    #[test]
    fn every_finding_is_a_sentence_and_what_is_wrong_has_a_remedy() {
        for finding in all() {
            let sentence = finding.sentence();
            assert!(
                sentence.ends_with('.') && sentence.len() < 160,
                "{sentence}"
            );
            assert!(sentence.starts_with(char::is_uppercase), "{sentence}");
            if finding.severity() >= Severity::Warning {
                let remedy = finding.remedy().expect("something to do");
                assert!(remedy.ends_with('.'), "{remedy}");
            }
        }
    }

    #[test]
    fn the_sentences_of_blocked_udp() {
        let blocked = &all()[6];
        assert_eq!(
            blocked.sentence(),
            "This network blocks UDP. Ahoy is relayed over TLS through turn.example.org: expect \
             about 30 ms more delay."
        );
        assert_eq!(blocked.severity(), Severity::Warning);
        assert_eq!(all()[7].severity(), Severity::Problem);
    }

    #[test]
    fn json_has_what_a_program_needs() {
        let json = serde_json::to_value(&all()[10]).expect("json");
        assert_eq!(json["code"], "relay-works");
        assert_eq!(json["severity"], "fine");
        assert_eq!(json["server"], "turn:turn.example.org:3478?transport=udp");
        assert!((json["roundTripMs"].as_f64().expect("a number") - 12.4).abs() < 1e-9);
        assert!(json.get("remedy").is_none());
    }
}
