use proptest::prelude::*;

use super::*;

fn number(number: u32) -> RoomNumber {
    RoomNumber::new(number).expect("in range")
}

fn candidate(line: &str) -> IceCandidate {
    IceCandidate {
        candidate: line.to_owned(),
        sdp_mid: Some("0".to_owned()),
        sdp_m_line_index: Some(0),
        username_fragment: None,
    }
}

#[test]
fn client_messages_look_as_documented() {
    let cases = [
        (
            ClientMessage::Create {
                version: 1,
                reach: Some(Reach::Network),
            },
            r#"{"type":"create","version":1,"reach":"network"}"#,
        ),
        (
            ClientMessage::Create {
                version: 1,
                reach: None,
            },
            r#"{"type":"create","version":1}"#,
        ),
        (
            ClientMessage::Join {
                version: 1,
                room: number(4821),
            },
            r#"{"type":"join","version":1,"room":4821}"#,
        ),
        (ClientMessage::Leave, r#"{"type":"leave"}"#),
        (
            ClientMessage::Description {
                to: 2,
                description: SessionDescription {
                    kind: SdpType::Offer,
                    sdp: "v=0\r\n".into(),
                },
            },
            r#"{"type":"description","to":2,"description":{"type":"offer","sdp":"v=0\r\n"}}"#,
        ),
        (
            ClientMessage::Candidate {
                to: 2,
                candidate: Some(candidate("candidate:1")),
            },
            r#"{"type":"candidate","to":2,"candidate":{"candidate":"candidate:1","sdpMid":"0","sdpMLineIndex":0,"usernameFragment":null}}"#,
        ),
        (
            ClientMessage::Candidate {
                to: 2,
                candidate: None,
            },
            r#"{"type":"candidate","to":2,"candidate":null}"#,
        ),
        (ClientMessage::Ping, r#"{"type":"ping"}"#),
        (ClientMessage::Pong, r#"{"type":"pong"}"#),
    ];
    for (message, json) in cases {
        assert_eq!(message.to_json(), json);
        assert_eq!(ClientMessage::parse(json), Ok(message));
    }
}

#[test]
fn server_messages_look_as_documented() {
    let cases = [
        (
            ServerMessage::Created {
                room: number(4821),
                participant: 1,
                participants: vec![1],
                reach: Reach::Computer,
            },
            r#"{"type":"created","room":4821,"participant":1,"participants":[1],"reach":"computer"}"#,
        ),
        (
            ServerMessage::Joined {
                room: number(4821),
                participant: 2,
                participants: vec![1, 2],
            },
            r#"{"type":"joined","room":4821,"participant":2,"participants":[1,2]}"#,
        ),
        (
            ServerMessage::ParticipantJoined { participant: 3 },
            r#"{"type":"participantJoined","participant":3}"#,
        ),
        (
            ServerMessage::ParticipantLeft {
                participant: 3,
                reason: LeaveReason::Timeout,
            },
            r#"{"type":"participantLeft","participant":3,"reason":"timeout"}"#,
        ),
        (
            ServerMessage::error(ErrorCode::RoomFull),
            r#"{"type":"error","code":"roomFull","message":"ten people are in this room already"}"#,
        ),
    ];
    for (message, json) in cases {
        assert_eq!(message.to_json(), json);
        assert_eq!(ServerMessage::parse(json), Ok(message));
    }
}

#[test]
fn unknown_fields_are_tolerated_and_unknown_values_survive() {
    let json = r#"{"type":"join","version":1,"room":4821,"mood":{"deep":[1]}}"#;
    assert_eq!(
        ClientMessage::parse(json),
        Ok(ClientMessage::Join {
            version: 1,
            room: number(4821)
        })
    );
    let json = r#"{"type":"error","code":"newInVersion9","message":"x"}"#;
    assert!(matches!(
        ServerMessage::parse(json),
        Ok(ServerMessage::Error {
            code: ErrorCode::Unknown,
            ..
        })
    ));
    let json = r#"{"type":"participantLeft","participant":3,"reason":"abducted"}"#;
    assert!(matches!(
        ServerMessage::parse(json),
        Ok(ServerMessage::ParticipantLeft {
            reason: LeaveReason::Unknown,
            ..
        })
    ));
}

#[test]
fn errors_name_what_is_wrong() {
    for (json, error) in [
        ("", MessageError::NotAMessage),
        ("hello", MessageError::NotAMessage),
        ("[]", MessageError::NotAMessage),
        (r#"["join"]"#, MessageError::NotAMessage),
        ("{}", MessageError::NotAMessage),
        (r#"{"type":7}"#, MessageError::NotAMessage),
        (
            r#"{"type":"join","version":1,"room":4821"#,
            MessageError::NotAMessage,
        ),
        (r#"{"type":"dance"}"#, MessageError::UnknownType),
        (r#"{"type":"join","version":1}"#, MessageError::Malformed),
        (
            r#"{"type":"join","version":1,"room":3}"#,
            MessageError::Malformed,
        ),
        (
            r#"{"type":"join","version":-1,"room":4821}"#,
            MessageError::Malformed,
        ),
        (r#"{"type":"candidate","to":1}"#, MessageError::Malformed),
        (
            r#"{"type":"description","to":1,"description":{"type":"shout","sdp":""}}"#,
            MessageError::Malformed,
        ),
    ] {
        assert_eq!(ClientMessage::parse(json), Err(error), "{json}");
    }
    assert_eq!(
        ClientMessage::parse(&"[".repeat(60_000)),
        Err(MessageError::NotAMessage)
    );
    let nested = format!(r#"{{"type":"leave","x":{}}}"#, "[".repeat(60_000));
    assert_eq!(
        ClientMessage::parse(&nested),
        Err(MessageError::NotAMessage)
    );
}

#[test]
fn long_messages_and_fields_are_refused() {
    assert_eq!(
        ClientMessage::parse(&" ".repeat(MAX_MESSAGE + 1)),
        Err(MessageError::TooLarge)
    );
    let description = |length| ClientMessage::Description {
        to: 1,
        description: SessionDescription {
            kind: SdpType::Offer,
            sdp: "x".repeat(length),
        },
    };
    assert!(ClientMessage::parse(&description(MAX_SDP).to_json()).is_ok());
    assert_eq!(
        ClientMessage::parse(&description(MAX_SDP + 1).to_json()),
        Err(MessageError::FieldTooLarge {
            field: "sdp",
            limit: MAX_SDP
        })
    );
    let line = ClientMessage::Candidate {
        to: 1,
        candidate: Some(candidate(&"x".repeat(MAX_CANDIDATE + 1))),
    };
    assert_eq!(
        ClientMessage::parse(&line.to_json()),
        Err(MessageError::FieldTooLarge {
            field: "candidate",
            limit: MAX_CANDIDATE
        })
    );
}

/// Escaped as it is here, a description within its own limit fills the whole message.
#[test]
fn a_description_is_never_too_long_to_be_passed_on() {
    let message = |length: usize| {
        let around = r#"{"type":"description","to":2,"description":{"type":"offer","sdp":""}}"#;
        let (before, after) = around.split_at(around.len() - 3);
        let left = length - around.len();
        let sdp = "\\u0001".repeat(left / 6) + &"x".repeat(left % 6);
        format!("{before}{sdp}{after}")
    };
    for length in [MAX_MESSAGE - GROWTH + 1, MAX_MESSAGE] {
        assert_eq!(
            ClientMessage::parse(&message(length)),
            Err(MessageError::TooLarge)
        );
    }
    let longest = ClientMessage::parse(&message(MAX_MESSAGE - GROWTH));
    let Ok(ClientMessage::Description { description, .. }) = longest else {
        panic!("{longest:?}");
    };
    let from = ParticipantId::MAX;
    let passed_on = ServerMessage::Description { from, description };
    assert_eq!(ServerMessage::parse(&passed_on.to_json()), Ok(passed_on));
}

#[test]
fn debug_output_keeps_descriptions_and_candidates_to_itself() {
    let description = SessionDescription {
        kind: SdpType::Offer,
        sdp: "c=IN IP4 10.1.2.3".into(),
    };
    let shown = format!(
        "{description:?} {:?}",
        candidate("candidate:1 1 udp 1 10.1.2.3 9 typ host")
    );
    assert!(!shown.contains("10.1.2.3"), "{shown}");
}

proptest! {
    #[test]
    fn nothing_that_is_sent_panics(text in "\\PC{0,200}") {
        let _ = ClientMessage::parse(&text);
        let _ = ServerMessage::parse(&text);
    }

    #[test]
    fn nothing_that_looks_like_a_message_panics(
        kind in proptest::sample::select(vec!["create", "join", "description", "candidate", "error"]),
        rest in "(,\"(version|room|to|description|candidate)\":(null|-?[0-9]{1,12}|\"\\PC{0,9}\"|\\{\\}|\\[\\])){0,4}",
    ) {
        let text = format!(r#"{{"type":"{kind}"{rest}}}"#);
        let _ = ClientMessage::parse(&text);
        let _ = ServerMessage::parse(&text);
    }
}
