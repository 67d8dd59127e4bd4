//! Fingerprints of DTLS certificates in session descriptions (RFC 8122 section 5).

use ahoy_sealing::Fingerprint;

/// Whether `sdp` names this certificate and no other: every `a=fingerprint` in it, and there is one.
pub fn names_only(sdp: &str, fingerprint: &Fingerprint) -> bool {
    let mut named = sdp
        .lines()
        .filter_map(|line| attribute(line.trim_end()))
        .peekable();
    named.peek().is_some() && named.all(|value| parse(value).as_ref() == Some(fingerprint))
}

/// What follows `a=fingerprint:`, in any case, as a lenient reader would take it.
fn attribute(line: &str) -> Option<&str> {
    const NAME: &str = "a=fingerprint";
    let name = line.get(..NAME.len())?;
    name.eq_ignore_ascii_case(NAME)
        .then(|| line[NAME.len()..].trim_start_matches(':'))
}

/// Reads `sha-256 AB:CD:…`; `None` for other hash functions and lengths.
pub fn parse(value: &str) -> Option<Fingerprint> {
    let mut words = value.split_ascii_whitespace();
    let (function, digits) = (words.next()?, words.next()?);
    if !function.eq_ignore_ascii_case("sha-256") || words.next().is_some() {
        return None;
    }
    let mut fingerprint = [0; 32];
    let mut bytes = digits.split(':');
    for place in &mut fingerprint {
        let byte = bytes.next().filter(|byte| {
            byte.len() == 2 && byte.bytes().all(|digit| digit.is_ascii_hexdigit())
        })?;
        *place = u8::from_str_radix(byte, 16).ok()?;
    }
    bytes.next().is_none().then_some(fingerprint)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Fingerprint = [0xab; 32];

    fn line(byte: &str) -> String {
        format!("a=fingerprint:sha-256 {}\r\n", vec![byte; 32].join(":"))
    }

    #[test]
    fn the_only_one_named_has_to_be_the_verified_one() {
        let (right, wrong) = (line("AB"), line("AC"));
        assert!(names_only(&format!("v=0\r\n{right}m=audio\r\n"), &OURS));
        assert!(names_only(&line("ab"), &OURS), "in any case");
        assert!(names_only(&format!("{right}m=audio\r\n{right}"), &OURS));
        assert!(!names_only("v=0\r\n", &OURS), "none");
        assert!(!names_only(&wrong, &OURS));
        assert!(!names_only(&format!("{right}{wrong}"), &OURS), "two");
        assert!(!names_only(
            &format!("{right}A=FINGERPRINT:sha-1 AB\r\n"),
            &OURS
        ));
        assert!(!names_only(&right.replace("sha-256", "sha-1"), &OURS));
        assert!(!names_only(&right.replacen("AB:", "", 1), &OURS), "short");
        assert!(
            !names_only(&right.replace("AB\r", "AB:AB\r"), &OURS),
            "long"
        );
        assert!(!names_only(&right.replacen("AB", "+B", 1), &OURS));
        assert!(!names_only("a=fingerprint", &OURS));
    }
}
