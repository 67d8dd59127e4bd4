//! Announces the repair stream of our sound in descriptions.
//!
//! The crate negotiates the payload type of such a stream (RFC 4588), but names the stream itself
//! (RFC 5576 section 4.2) for pictures only. The lines are added to what goes to the other side and
//! taken away from what the crate is given back, which must be what it made.

use super::connection::Ssrcs;

/// Adds the stream to a description of ours that has a payload type for it.
pub(super) fn announced(sdp: &str, ssrcs: Ssrcs) -> String {
    let Some(section) = sound_section(sdp) else {
        return sdp.to_owned();
    };
    let lines = || sdp[section.clone()].lines();
    let of_sound = format!("a=ssrc:{} ", ssrcs.audio);
    let repairs = lines().any(|line| line.starts_with("a=fmtp:") && line.contains("apt="));
    let Some(first) = sdp[section.clone()].find(&of_sound).filter(|_| repairs) else {
        return sdp.to_owned();
    };
    let at = section.start + first;
    let mut added = format!("{}\r\n", group(ssrcs));
    for line in lines().filter_map(|line| line.strip_prefix(&of_sound)) {
        added.push_str(&format!("a=ssrc:{} {line}\r\n", ssrcs.audio_rtx));
    }
    format!("{}{added}{}", &sdp[..at], &sdp[at..])
}

/// Takes away what [`announced`] added.
pub(super) fn taken_back(sdp: &str, ssrcs: Ssrcs) -> String {
    let group = group(ssrcs);
    let of_repairs = format!("a=ssrc:{} ", ssrcs.audio_rtx);
    sdp.split_inclusive('\n')
        .filter(|line| line.trim_end() != group && !line.starts_with(&of_repairs))
        .collect()
}

fn group(ssrcs: Ssrcs) -> String {
    format!("a=ssrc-group:FID {} {}", ssrcs.audio, ssrcs.audio_rtx)
}

/// Where the first section of sound is.
fn sound_section(sdp: &str) -> Option<std::ops::Range<usize>> {
    let start = sdp.find("\nm=audio ")? + 1;
    let end = sdp[start..].find("\nm=").map(|length| start + length + 1);
    Some(start..end.unwrap_or(sdp.len()))
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
        let group = sent.find("a=ssrc-group:FID 10 13\r\n").expect("grouped");
        assert!(group < sent.find("a=ssrc:10 ").expect("sound"));
        assert!(sent.contains("a=ssrc:13 cname:ahoy\r\na=ssrc:13 msid:ahoy audio\r\n"));
        assert_eq!(taken_back(&sent, SSRCS), made);
    }

    #[test]
    fn nothing_is_named_without_a_payload_type_or_without_sound() {
        for made in [
            sdp(""),
            "v=0\r\nm=video 9 X 96\r\n".to_owned(),
            String::new(),
        ] {
            assert_eq!(announced(&made, SSRCS), made);
            assert_eq!(taken_back(&made, SSRCS), made);
        }
    }
}
