//! What Prometheus reads: its text format, version 0.0.4. No count tells of a single room or person.

use std::fmt::Write;

use ahoy_signaling::server::{Counts, Load};

use crate::turn::{RelayState, Transport};

/// What the system says of this process, where it says anything.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Process {
    pub(crate) resident_bytes: Option<u64>,
    pub(crate) open_files: Option<u64>,
    pub(crate) max_files: Option<u64>,
}

impl Process {
    pub(crate) fn look(max_files: Option<u64>) -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let resident = status.lines().find_map(|line| {
            let kilobytes = line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?;
            kilobytes.parse::<u64>().ok()
        });
        let open = std::fs::read_dir("/proc/self/fd").map(Iterator::count).ok();
        Self {
            resident_bytes: resident.map(|kilobytes| kilobytes * 1024),
            open_files: open.and_then(|count| u64::try_from(count).ok()),
            max_files,
        }
    }
}

/// The whole page.
pub(crate) fn text(
    load: Load,
    counts: &Counts,
    relay: Option<&RelayState>,
    process: Process,
) -> String {
    let mut page = Page::default();
    let gauges = [
        ("ahoy_connections", "Open connections.", load.connections),
        ("ahoy_rooms", "Open rooms.", load.rooms),
        (
            "ahoy_seats_away",
            "Seats kept for broken connections.",
            load.away,
        ),
        (
            "ahoy_relayed_connections",
            "Connections passed on to the relay.",
            load.relayed,
        ),
    ];
    for (name, help, value) in gauges {
        page.one(name, "gauge", help, value as u64);
    }
    let totals = [
        (
            "ahoy_connections_total",
            "Connections let in.",
            counts.connections,
        ),
        (
            "ahoy_connections_refused_total",
            "Connections refused for want of room.",
            counts.connections_refused,
        ),
        (
            "ahoy_relayed_connections_total",
            "Connections passed on to the relay.",
            counts.connections_relayed,
        ),
        ("ahoy_rooms_total", "Rooms opened.", counts.rooms),
        ("ahoy_joins_total", "Seats taken by joining.", counts.joins),
        (
            "ahoy_resumes_total",
            "Seats taken over after a broken connection.",
            counts.resumes,
        ),
        (
            "ahoy_messages_received_total",
            "Messages from clients.",
            counts.messages_received,
        ),
        (
            "ahoy_received_bytes_total",
            "Bytes of messages from clients.",
            counts.bytes_received,
        ),
        (
            "ahoy_messages_sent_total",
            "Messages to clients.",
            counts.messages_sent,
        ),
        (
            "ahoy_sent_bytes_total",
            "Bytes of messages to clients.",
            counts.bytes_sent,
        ),
        (
            "ahoy_messages_forwarded_total",
            "Messages from one participant to another.",
            counts.forwarded,
        ),
        (
            "ahoy_slow_readers_total",
            "Connections closed for not taking their messages.",
            counts.slow_readers,
        ),
    ];
    for (name, help, value) in totals {
        page.one(name, "counter", help, value);
    }
    page.head(
        "ahoy_errors_total",
        "counter",
        "Errors that clients were told of.",
    );
    let mut errors: Vec<_> = counts
        .errors
        .iter()
        .filter_map(|(code, count)| Some((serde_json::to_string(code).ok()?, *count)))
        .collect();
    errors.sort();
    for (code, count) in errors {
        page.line(&format!("ahoy_errors_total{{code={code}}}"), count);
    }
    if let Some(relay) = relay {
        page.one(
            "ahoy_turn_running",
            "gauge",
            "Whether coturn runs.",
            relay.running.into(),
        );
        page.one(
            "ahoy_turn_restarts_total",
            "counter",
            "How often coturn ended by itself.",
            relay.restarts,
        );
        page.head(
            "ahoy_turn_up",
            "gauge",
            "Whether our own relay gave us an allocation when last tried.",
        );
        for (transport, result) in &relay.checks {
            let label = match transport {
                Transport::Udp => "udp",
                Transport::Tcp => "tcp",
                Transport::Tls => "tls",
            };
            page.line(
                &format!("ahoy_turn_up{{transport=\"{label}\"}}"),
                result.is_ok().into(),
            );
        }
    }
    let own = [
        (
            "process_resident_memory_bytes",
            "Resident memory.",
            process.resident_bytes,
        ),
        (
            "process_open_fds",
            "Open files and sockets.",
            process.open_files,
        ),
        (
            "process_max_fds",
            "Most open files and sockets.",
            process.max_files,
        ),
    ];
    for (name, help, value) in own {
        if let Some(value) = value {
            page.one(name, "gauge", help, value);
        }
    }
    page.head("ahoy_build_info", "gauge", "The version.");
    page.line(
        &format!(
            "ahoy_build_info{{version=\"{}\"}}",
            env!("CARGO_PKG_VERSION")
        ),
        1,
    );
    page.0
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, sample: &str, value: u64) {
        let _ = writeln!(self.0, "{sample} {value}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.head(name, kind, help);
        self.line(name, value);
    }
}

#[cfg(test)]
mod tests {
    use ahoy_signaling::message::ErrorCode;

    use super::*;

    #[test]
    fn the_page_is_what_prometheus_reads() {
        let load = Load {
            rooms: 2,
            connections: 5,
            away: 1,
            relayed: 0,
        };
        let mut counts = Counts {
            joins: 3,
            ..Counts::default()
        };
        counts.errors.insert(ErrorCode::UnknownRoom, 4);
        let relay = RelayState {
            running: true,
            restarts: 2,
            checks: vec![(Transport::Udp, Ok(())), (Transport::Tls, Err("no".into()))],
        };
        let text = text(load, &counts, Some(&relay), Process::default());
        for line in [
            "ahoy_connections 5",
            "ahoy_rooms 2",
            "ahoy_joins_total 3",
            "ahoy_errors_total{code=\"unknownRoom\"} 4",
            "ahoy_turn_up{transport=\"udp\"} 1",
            "ahoy_turn_up{transport=\"tls\"} 0",
            "ahoy_turn_restarts_total 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        // Each sample belongs to a family that was declared just before.
        let mut family = "";
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                family = rest.split(' ').next().expect("a name");
            } else if !line.starts_with('#') {
                assert!(
                    line.starts_with(family) && line.split(' ').count() == 2,
                    "{line}"
                );
            }
        }
    }
}
