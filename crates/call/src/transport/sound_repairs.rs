//! Announces the repair stream of our sound in descriptions.
//!
//! Both sides negotiate the payload type of such a stream (RFC 4588), but its SSRC would be named in
//! a group of sources (RFC 5576 section 4.2), which the crate does for pictures only, and which
//! Chromium refuses for sound. So it is named in an attribute of our own, which others pass over (RFC
//! 8866 section 5), and which becomes that group when another Ahoy reads it. The crate is given
//! back exactly what it made.

use std::ops::Range;

use super::connection::Ssrcs;

/// SSRC of the repairs of the sound in the same section.
const ATTRIBUTE: &str = "a=x-ahoy-repair-ssrc:";

/// Adds the stream to a description of ours that has a payload type for it.
pub(super) fn announced(sdp: &str, ssrcs: Ssrcs) -> String {
    let section = sound_section(sdp);
    let lines = sdp[section.clone()].lines();
    let repairs = |line: &str| line.starts_with("a=fmtp:") && line.contains("apt=");
    if !lines.clone().any(repairs) {
        return sdp.to_owned();
    }
    let (before, after) = sdp.split_at(section.end);
    format!("{before}{ATTRIBUTE}{}\r\n{after}", ssrcs.audio_rtx)
}

/// Takes away what [`announced`] added.
pub(super) fn taken_back(sdp: &str) -> String {
    sdp.split_inclusive('\n')
        .filter(|line| !line.starts_with(ATTRIBUTE))
        .collect()
}

/// What the other side announced, in words that the crate understands.
pub(super) fn understood(sdp: &str) -> String {
    let section = sound_section(sdp);
    let lines = || sdp[section.clone()].lines();
    let number = |line: &str| line.split(' ').next()?.parse::<u32>().ok();
    let sound = lines().find_map(|line| number(line.strip_prefix("a=ssrc:")?));
    let repairs = lines().find_map(|line| number(line.strip_prefix(ATTRIBUTE)?));
    let Some((sound, repairs)) = sound.zip(repairs).filter(|(a, b)| a != b) else {
        return taken_back(sdp);
    };
    let of_sound = format!("a=ssrc:{sound} ");
    let mut group = format!("a=ssrc-group:FID {sound} {repairs}\r\n");
    for line in lines().filter_map(|line| line.strip_prefix(&of_sound)) {
        group.push_str(&format!("a=ssrc:{repairs} {line}\r\n"));
    }
    let (before, after) = sdp.split_at(section.end);
    let ends = if before.ends_with('\n') { "" } else { "\r\n" };
    taken_back(&format!("{before}{ends}{group}{after}"))
}

/// Where the first section of sound is; empty at the end when there is none.
fn sound_section(sdp: &str) -> Range<usize> {
    let Some(start) = sdp.find("\nm=audio ").map(|at| at + 1) else {
        return sdp.len()..sdp.len();
    };
    let end = sdp[start..].find("\nm=").map(|length| start + length + 1);
    start..end.unwrap_or(sdp.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SSRCS: Ssrcs = Ssrcs {
        audio: 10,
        audio_rtx: 13,
        video: 11,
        video_rtx: 12,
    };

    fn sdp(fmtp: &str) -> String {
        format!(
            "v=0\r\nm=audio 9 X 111 112\r\n{fmtp}a=ssrc:10 cname:ahoy\r\na=ssrc:10 msid:ahoy audio\r\n\
             a=sendrecv\r\nm=video 9 X 96\r\na=fmtp:97 apt=96\r\na=ssrc:11 cname:ahoy\r\n"
        )
    }

    #[test]
    fn the_stream_is_named_beside_its_payload_type_and_taken_back_exactly() {
        let made = sdp("a=fmtp:112 apt=111\r\n");
        let sent = announced(&made, SSRCS);
        assert!(sent.contains("a=sendrecv\r\na=x-ahoy-repair-ssrc:13\r\nm=video"));
        assert_eq!(taken_back(&sent), made);
        let read = understood(&sent);
        let group =
            "a=ssrc-group:FID 10 13\r\na=ssrc:13 cname:ahoy\r\na=ssrc:13 msid:ahoy audio\r\nm=";
        assert!(read.contains(group), "{read}");
        assert!(!read.contains(ATTRIBUTE));
    }

    #[test]
    fn nothing_is_named_without_a_payload_type_or_without_sound() {
        for made in [
            sdp(""),
            "v=0\r\nm=video 9 X 96\r\n".to_owned(),
            String::new(),
        ] {
            assert_eq!(announced(&made, SSRCS), made);
            assert_eq!(understood(&made), made);
        }
    }

    #[test]
    fn nonsense_of_the_other_side_is_passed_over() {
        for value in ["", "x", "99999999999", "10", "-1", "13 14"] {
            let line = format!("{ATTRIBUTE}{value}\r\n");
            let read = understood(&sdp(&line));
            let named = read.contains("ssrc-group");
            assert_eq!(named, value == "13 14", "{value}");
            assert!(!read.contains(ATTRIBUTE));
        }
        let without_end = format!("v=0\r\nm=audio 9 X\r\na=ssrc:10 a\r\n{ATTRIBUTE}13");
        assert!(understood(&without_end).ends_with("a=ssrc-group:FID 10 13\r\na=ssrc:13 a\r\n"));
    }
}
