//! "Always relay": what leaves this computer in descriptions and candidates shows relayed
//! addresses only. The crate gathers nothing else then; this is the last gate, and it also takes
//! the related address out, which names the socket behind a relay (RFC 8839 section 5.1).

use std::borrow::Cow;
use std::net::IpAddr;

const CANDIDATE_LINE: &str = "a=candidate:";

/// A candidate as it may leave: `None` for one that is no relay's.
///
/// ```
/// use ahoy_ice::privacy::relayed_only;
/// let relay = "candidate:1 1 udp 1 198.51.100.9 50000 typ relay raddr 192.168.1.5 rport 4711";
/// assert_eq!(
///     relayed_only(relay).as_deref(),
///     Some("candidate:1 1 udp 1 198.51.100.9 50000 typ relay raddr 0.0.0.0 rport 9"),
/// );
/// assert_eq!(relayed_only("candidate:1 1 udp 1 192.168.1.5 4711 typ host"), None);
/// ```
pub fn relayed_only(candidate: &str) -> Option<String> {
    // The end of candidates.
    if candidate.is_empty() {
        return Some(String::new());
    }
    let words: Vec<&str> = candidate.split_ascii_whitespace().collect();
    let value = |key: &str| {
        let at = words.iter().position(|word| *word == key)?;
        words.get(at + 1).copied()
    };
    if value("typ") != Some("relay") {
        return None;
    }
    let mut clean: Vec<Cow<'_, str>> = words.iter().map(|word| Cow::Borrowed(*word)).collect();
    for index in 1..words.len() {
        match words[index - 1] {
            "raddr" => clean[index] = Cow::Borrowed(unspecified(words[index])),
            // The discard port, as RFC 8839 has it beside an address that is not told.
            "rport" => clean[index] = Cow::Borrowed("9"),
            _ => {}
        }
    }
    Some(clean.join(" "))
}

fn unspecified(address: &str) -> &'static str {
    match address.parse() {
        Ok(IpAddr::V6(_)) => "::",
        _ => "0.0.0.0",
    }
}

/// A session description without candidates other than relays'.
pub fn relayed_only_sdp(sdp: &str) -> String {
    let mut clean = String::with_capacity(sdp.len());
    for line in sdp.split_inclusive('\n') {
        let text = line.trim_end_matches(['\r', '\n']);
        if text.strip_prefix(CANDIDATE_LINE).is_none() {
            clean.push_str(line);
            continue;
        }
        if let Some(relayed) = relayed_only(&text[2..]) {
            clean.push_str("a=");
            clean.push_str(&relayed);
            clean.push_str(&line[text.len()..]);
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_description_keeps_all_but_its_direct_candidates() {
        let sdp = "v=0\r\n\
                   m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n\
                   c=IN IP4 0.0.0.0\r\n\
                   a=candidate:1 1 udp 2130706431 192.168.1.5 4711 typ host ufrag abc\r\n\
                   a=candidate:2 1 udp 1694498815 203.0.113.4 4711 typ srflx raddr 192.168.1.5 rport 4711\r\n\
                   a=candidate:3 1 udp 16777215 2001:db8::9 50000 typ relay raddr fd00::5 rport 4711 ufrag abc\r\n\
                   a=end-of-candidates\r\n\
                   a=mid:0\r\n";
        let expected = "v=0\r\n\
                        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n\
                        c=IN IP4 0.0.0.0\r\n\
                        a=candidate:3 1 udp 16777215 2001:db8::9 50000 typ relay raddr :: rport 9 ufrag abc\r\n\
                        a=end-of-candidates\r\n\
                        a=mid:0\r\n";
        assert_eq!(relayed_only_sdp(sdp), expected);
        assert_eq!(relayed_only_sdp(expected), expected);
    }

    #[test]
    fn no_other_type_and_no_broken_candidate_leaves() {
        for bad in [
            "candidate:1 1 udp 1 10.0.0.1 5 typ host",
            "candidate:1 1 udp 1 10.0.0.1 5 typ prflx raddr 10.0.0.1 rport 5",
            "candidate:1 1 udp 1 10.0.0.1 5",
            "candidate:1 1 udp 1 10.0.0.1 5 typ",
            "typ host typ relay",
        ] {
            assert_eq!(relayed_only(bad), None, "{bad}");
        }
        assert_eq!(relayed_only("").as_deref(), Some(""));
    }

    proptest! {
        #[test]
        fn the_socket_behind_a_relay_is_never_told(
            address in prop_oneof![
                any::<std::net::Ipv4Addr>().prop_map(IpAddr::V4),
                any::<std::net::Ipv6Addr>().prop_map(IpAddr::V6),
            ],
            port in 10_000_u16..60_000,
        ) {
            prop_assume!(!address.is_unspecified());
            let candidate =
                format!("candidate:7 1 udp 5 198.51.100.9 61000 typ relay raddr {address} rport {port}");
            let clean = relayed_only(&candidate).expect("a relay");
            let words: Vec<_> = clean.split(' ').map(str::to_owned).collect();
            prop_assert!(!words.contains(&address.to_string()));
            prop_assert!(!words.contains(&port.to_string()));
        }
    }
}
