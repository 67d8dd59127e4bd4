//! What coturn says, without what does not belong in a log.

use std::net::{IpAddr, SocketAddr};

/// Longest line that is kept.
const MAX_LINE: usize = 300;

/// A line of coturn's log, and whether it is about something wrong. Without the time, which our own
/// log has, without addresses, and without anything in angle brackets: user names, realms, peers.
pub(super) fn clean(line: &str) -> Option<(String, bool)> {
    let line = line.trim();
    // "12: : text", "12: (345): INFO: text"
    let text = match line.split_once(": ") {
        Some((time, rest)) if time.bytes().all(|byte| byte.is_ascii_digit()) => {
            rest.trim_start_matches([':', ' '])
        }
        _ => line,
    };
    let mut cleaned = String::new();
    let mut depth = 0_u32;
    for character in text.chars().take(MAX_LINE) {
        match character {
            '<' => {
                depth += 1;
                if depth == 1 {
                    cleaned.push_str("<\u{2026}>");
                }
            }
            '>' => depth = depth.saturating_sub(1),
            _ if depth > 0 || character.is_control() => {}
            _ => cleaned.push(character),
        }
    }
    let words: Vec<&str> = cleaned
        .split_whitespace()
        .map(|word| if is_address(word) { "\u{2026}" } else { word })
        .collect();
    let cleaned = words.join(" ");
    if cleaned.bytes().all(|byte| !byte.is_ascii_alphanumeric()) {
        return None;
    }
    let lower = cleaned.to_ascii_lowercase();
    let wrong = ["error", "cannot", "fail", "warning", "unable"]
        .iter()
        .any(|word| lower.contains(word));
    Some((cleaned, wrong))
}

/// Also with a port, in brackets, or a sign behind it. A number alone is none.
fn is_address(word: &str) -> bool {
    let word = word.trim_matches(|c: char| matches!(c, ',' | ';' | '.' | '(' | ')' | '\'' | '"'));
    let bare = word.trim_end_matches(':').trim_matches(['[', ']']);
    let without_port = word.rsplit_once(':').map_or(word, |(host, _)| host);
    bare.parse::<IpAddr>().is_ok()
        || word.parse::<SocketAddr>().is_ok()
        || without_port.parse::<IpAddr>().is_ok()
        || word
            .split(['-', '=', '/', '['])
            .any(|part| part.trim_matches([']', '[']).parse::<IpAddr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_are_left_out() {
        for (line, expected, wrong) in [
            (
                "0: : Relay address to use: 192.0.2.1",
                "Relay address to use: \u{2026}",
                false,
            ),
            (
                "1: : Cannot bind DTLS/UDP listener socket to addr 127.0.0.1:34780",
                "Cannot bind DTLS/UDP listener socket to addr \u{2026}",
                true,
            ),
            (
                "7: : session 001000000000000001: realm <x> user <17:ann>: incoming packet ALLOCATE processed, error 401",
                "session 001000000000000001: realm <\u{2026}> user <\u{2026}>: incoming packet ALLOCATE processed, error 401",
                true,
            ),
            (
                "0: : Black listing: 10.0.0.0-10.255.255.255",
                "Black listing: \u{2026}",
                false,
            ),
            (
                "0: :   relay ::1 initialization done",
                "relay \u{2026} initialization done",
                false,
            ),
            (
                "2: : peer [2001:db8::1]:900, lifetime=600",
                "peer \u{2026} lifetime=600",
                false,
            ),
            ("0: : total 17", "total 17", false),
        ] {
            assert_eq!(clean(line), Some((expected.to_owned(), wrong)), "{line}");
        }
        assert_eq!(clean("0: : "), None);
        assert_eq!(clean("========="), None);
    }
}
