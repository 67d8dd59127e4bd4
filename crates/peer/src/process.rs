//! What this process has used so far.

use serde::Serialize;

/// Unit of the CPU times in `/proc`, per second: Linux fixes it for programs, whatever the
/// kernel's own clock (`USER_HZ`, proc(5)).
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU and memory of this process. A figure that the system does not give is left out.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProcessUsage {
    /// Seconds of CPU time, user and system, of all threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_seconds: Option<f64>,
    /// Largest resident memory so far, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peak_rss_bytes: Option<u64>,
}

/// Reads the figures from `/proc`.
pub(crate) fn usage() -> ProcessUsage {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/self/{name}")).ok();
    ProcessUsage {
        cpu_seconds: read("stat").as_deref().and_then(cpu_seconds),
        peak_rss_bytes: read("status").as_deref().and_then(peak_rss),
    }
}

/// Fields 14 and 15 of `/proc/self/stat`. The second field is the program's name in brackets,
/// which may contain anything.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let user: f64 = fields.nth(11)?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

fn peak_rss(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_past_a_hostile_program_name() {
        let stat = "12 (a) b) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 1 0";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(cpu_seconds("nonsense"), None);
        assert_eq!(peak_rss("Name:\tx\nVmHWM:\t   2048 kB\n"), Some(2 << 20));
        assert_eq!(peak_rss("Name:\tx\n"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_figures() {
        let usage = usage();
        assert!(usage.cpu_seconds.is_some());
        assert!(usage.peak_rss_bytes.is_some_and(|bytes| bytes > 1 << 20));
    }
}
