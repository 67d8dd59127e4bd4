//! What the answers mean. Pure.

use super::finding::Finding;
use super::observe::{Ipv6, Mapping, Observations, ProbeResult, ServerObservation};
use crate::server::{IceUri, ServerTransport, Service};

/// Findings in the order in which they are read: the worst first, otherwise from the general to
/// the particular.
pub fn conclude(seen: &Observations) -> Vec<Finding> {
    let mut findings = general(seen);
    findings.extend(
        seen.servers
            .iter()
            .filter_map(|server| of_server(seen, server)),
    );
    findings.extend(of_path(seen));
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity()));
    findings
}

fn general(seen: &Observations) -> Vec<Finding> {
    let servers = &seen.servers;
    if seen.addresses.is_empty() && !servers.iter().any(|server| server.result.answered()) {
        return vec![Finding::NoNetwork];
    }
    if servers.is_empty() {
        return vec![Finding::NoServers];
    }
    if no_names(seen) {
        return vec![Finding::NoNames];
    }
    let over_udp = answered(seen, true);
    let over_streams = answered(seen, false);
    if over_udp {
        vec![Finding::UdpWorks]
    } else if !over_streams {
        vec![Finding::NothingAnswers]
    } else if servers.iter().any(|server| is_udp(&server.uri)) {
        vec![Finding::UdpBlocked {
            relay: fastest_stream(seen),
        }]
    } else {
        Vec::new()
    }
}

/// Names are asked for, and none is known.
fn no_names(seen: &Observations) -> bool {
    let mut named = seen
        .servers
        .iter()
        .filter(|server| server.uri.ip().is_none())
        .peekable();
    named.peek().is_some() && named.all(|server| server.result == ProbeResult::Unresolved)
}

fn is_udp(uri: &IceUri) -> bool {
    uri.transport() == ServerTransport::Udp
}

fn answered(seen: &Observations, udp: bool) -> bool {
    let mut servers = seen.servers.iter();
    servers.any(|server| is_udp(&server.uri) == udp && server.result.answered())
}

fn fastest_stream(seen: &Observations) -> Option<(IceUri, std::time::Duration)> {
    let relays = seen
        .servers
        .iter()
        .filter_map(|server| match server.result {
            ProbeResult::Allocated { round_trip } if !is_udp(&server.uri) => {
                Some((server.uri.clone(), round_trip))
            }
            _ => None,
        });
    relays.min_by_key(|(_, round_trip)| *round_trip)
}

fn of_server(seen: &Observations, server: &ServerObservation) -> Option<Finding> {
    let uri = server.uri.clone();
    let silent = || match uri.service() {
        Service::Stun => Finding::StunSilent { uri: uri.clone() },
        Service::Turn => Finding::RelaySilent { uri: uri.clone() },
    };
    Some(match server.result {
        ProbeResult::Bound { round_trip } => Finding::StunAnswers { uri, round_trip },
        ProbeResult::Allocated { round_trip } => Finding::RelayWorks { uri, round_trip },
        ProbeResult::WrongCredential => Finding::RelayWrongCredential { uri },
        ProbeResult::BadCertificate => Finding::RelayBadCertificate { uri },
        ProbeResult::Refused { code } => Finding::RelayRefused { uri, code },
        // Said once for all.
        ProbeResult::Unresolved if no_names(seen) => return None,
        ProbeResult::Unresolved => Finding::UnknownName {
            host: uri.host().to_owned(),
        },
        ProbeResult::Silent | ProbeResult::Unreachable => {
            let said = !answered(seen, is_udp(&uri)) && (is_udp(&uri) || !answered(seen, true));
            if said {
                return None;
            }
            silent()
        }
    })
}

fn of_path(seen: &Observations) -> Vec<Finding> {
    let mut findings = Vec::new();
    let relays = || {
        let of_turn = |server: &&ServerObservation| server.uri.service() == Service::Turn;
        seen.servers.iter().filter(of_turn)
    };
    if !seen.servers.is_empty() && relays().next().is_none() {
        findings.push(Finding::NoRelay);
    }
    let relayed = relays().any(|server| matches!(server.result, ProbeResult::Allocated { .. }));
    findings.extend(seen.nat.map(|nat| match nat.mapping {
        Mapping::None => Finding::NoNat,
        Mapping::EndpointIndependent => Finding::NatPassable,
        Mapping::AddressDependent => Finding::NatSymmetric { relayed },
        Mapping::Unknown => Finding::NatUnknown,
    }));
    match seen.ipv6 {
        Ipv6::Works => findings.push(Finding::Ipv6Works),
        Ipv6::Broken if answered(seen, true) => findings.push(Finding::Ipv6Broken),
        Ipv6::Absent if !seen.addresses.is_empty() => findings.push(Finding::NoIpv6),
        Ipv6::Broken | Ipv6::Absent | Ipv6::Present => {}
    }
    findings
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::observe::Nat;
    use super::*;

    const RTT: Duration = Duration::from_millis(20);
    const ALLOCATED: ProbeResult = ProbeResult::Allocated { round_trip: RTT };
    const BOUND: ProbeResult = ProbeResult::Bound { round_trip: RTT };

    fn seen(servers: &[(&str, ProbeResult)]) -> Observations {
        Observations {
            addresses: vec!["192.168.1.5".parse().expect("address")],
            servers: servers
                .iter()
                .map(|(uri, result)| ServerObservation {
                    uri: uri.parse().expect("a URI"),
                    result: *result,
                })
                .collect(),
            nat: None,
            ipv6: Ipv6::Present,
        }
    }

    fn codes(seen: &Observations) -> Vec<&'static str> {
        conclude(seen).iter().map(Finding::code).collect()
    }

    #[test]
    fn all_is_well() {
        let mut seen = seen(&[("stun:a.example", BOUND), ("turn:a.example", ALLOCATED)]);
        seen.nat = Some(Nat {
            mapping: Mapping::EndpointIndependent,
            filtering: None,
        });
        seen.ipv6 = Ipv6::Works;
        assert_eq!(
            codes(&seen),
            [
                "udp-works",
                "stun-answers",
                "relay-works",
                "nat-passable",
                "ipv6-works"
            ]
        );
    }

    #[test]
    fn blocked_udp_is_said_once_with_the_fastest_relay() {
        let slow = ProbeResult::Allocated {
            round_trip: 3 * RTT,
        };
        let seen = seen(&[
            ("stun:a.example", ProbeResult::Silent),
            ("turn:a.example", ProbeResult::Silent),
            ("turn:a.example?transport=tcp", slow),
            ("turns:b.example:443", ALLOCATED),
        ]);
        let findings = conclude(&seen);
        assert_eq!(
            findings[0],
            Finding::UdpBlocked {
                relay: Some(("turns:b.example:443".parse().expect("a URI"), RTT))
            }
        );
        assert_eq!(codes(&seen), ["udp-blocked", "relay-works", "relay-works"]);
    }

    #[test]
    fn a_single_dead_server_is_named() {
        let seen = seen(&[
            ("stun:a.example", BOUND),
            ("turn:b.example", ProbeResult::Silent),
            ("turns:c.example", ProbeResult::BadCertificate),
            ("turn:d.example", ProbeResult::WrongCredential),
            ("turn:e.example", ProbeResult::Unresolved),
        ]);
        assert_eq!(
            codes(&seen),
            [
                "relay-silent",
                "relay-bad-certificate",
                "relay-wrong-credential",
                "unknown-name",
                "udp-works",
                "stun-answers"
            ]
        );
    }

    #[test]
    fn nothing_and_nobody() {
        let dead = seen(&[
            ("stun:192.0.2.1", ProbeResult::Silent),
            ("turns:192.0.2.1", ProbeResult::Unreachable),
        ]);
        assert_eq!(codes(&dead), ["nothing-answers"]);
        let nameless = seen(&[
            ("stun:a.example", ProbeResult::Unresolved),
            ("turn:a.example", ProbeResult::Unresolved),
        ]);
        assert_eq!(codes(&nameless), ["no-names"]);
        let mut offline = dead.clone();
        offline.addresses.clear();
        offline.ipv6 = Ipv6::Absent;
        assert_eq!(codes(&offline), ["no-network"]);
        assert_eq!(codes(&seen(&[])), ["no-servers"]);
    }

    #[test]
    fn a_symmetric_router_without_a_relay_is_a_problem() {
        let mut seen = seen(&[("stun:a.example", BOUND)]);
        seen.nat = Some(Nat {
            mapping: Mapping::AddressDependent,
            filtering: None,
        });
        assert_eq!(
            codes(&seen),
            ["nat-symmetric", "no-relay", "udp-works", "stun-answers"]
        );
    }
}
