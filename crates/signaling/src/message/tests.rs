use proptest::prelude::*;

use super::*;

fn number(number: u32) -> RoomNumber {
    RoomNumber::new(number).expect("in range")
}

fn secret(digit: &str) -> Secret {
    let text = format!("\"{}\"", digit.repeat(32));
    serde_json::from_str(&text).expect("32 digits")
}

fn relay() -> IceServer {
    IceServer {
        urls: vec!["turn:example.org:3478?transport=udp".into()],
        username: Some("1790000000:k9".into()),
        credential: Some("hidden".into()),
    }
}

fn data(text: &str) -> SignalData {
    SignalData(text.to_owned())
}

#[test]
fn client_messages_look_as_documented() {
    let cases = [
        (
            ClientMessage::Create {
                version: 2,
                reach: Some(Reach::Network),
                room: None,
                resumable: false,
            },
            r#"{"type":"create","version":2,"reach":"network"}"#,
        ),
        (
            ClientMessage::Create {
                version: 2,
                reach: None,
                room: None,
                resumable: false,
            },
            r#"{"type":"create","version":2}"#,
        ),
        (
            ClientMessage::Create {
                version: 2,
                reach: None,
                room: Some(number(4821)),
                resumable: true,
            },
            r#"{"type":"create","version":2,"room":4821,"resumable":true}"#,
        ),
        (
            ClientMessage::Resume {
                version: 2,
                room: number(4821),
                participant: 2,
                token: secret("1"),
                room_token: secret("f"),
                participants: vec![1, 2],
                highest: Some(5),
                received: 17,
            },
            concat!(
                r#"{"type":"resume","version":2,"room":4821,"participant":2,"#,
                r#""token":"11111111111111111111111111111111","#,
                r#""roomToken":"ffffffffffffffffffffffffffffffff","#,
                r#""participants":[1,2],"highest":5,"received":17}"#,
            ),
        ),
        (
            ClientMessage::Received { count: 17 },
            r#"{"type":"received","count":17}"#,
        ),
        (ClientMessage::IceServers, r#"{"type":"iceServers"}"#),
        (
            ClientMessage::Join {
                version: 2,
                room: number(4821),
                resumable: false,
            },
            r#"{"type":"join","version":2,"room":4821}"#,
        ),
        (ClientMessage::Leave, r#"{"type":"leave"}"#),
        (
            ClientMessage::Signal {
                to: 2,
                data: data("AQ-_"),
            },
            r#"{"type":"signal","to":2,"data":"AQ-_"}"#,
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
                resume: None,
                ice_servers: Vec::new(),
                ice_servers_lifetime: None,
            },
            r#"{"type":"created","room":4821,"participant":1,"participants":[1],"reach":"computer"}"#,
        ),
        (
            ServerMessage::Joined {
                room: number(4821),
                participant: 2,
                participants: vec![1, 2],
                away: Vec::new(),
                resume: None,
                ice_servers: Vec::new(),
                ice_servers_lifetime: None,
            },
            r#"{"type":"joined","room":4821,"participant":2,"participants":[1,2]}"#,
        ),
        (
            ServerMessage::Joined {
                room: number(4821),
                participant: 2,
                participants: vec![1, 2],
                away: vec![1],
                resume: Some(Ticket {
                    token: secret("1"),
                    room_token: secret("f"),
                    within: 60,
                }),
                ice_servers: vec![relay()],
                ice_servers_lifetime: Some(43_200),
            },
            concat!(
                r#"{"type":"joined","room":4821,"participant":2,"participants":[1,2],"away":[1],"#,
                r#""resume":{"token":"11111111111111111111111111111111","#,
                r#""roomToken":"ffffffffffffffffffffffffffffffff","within":60},"#,
                r#""iceServers":[{"urls":["turn:example.org:3478?transport=udp"],"#,
                r#""username":"1790000000:k9","credential":"hidden"}],"iceServersLifetime":43200}"#,
            ),
        ),
        (
            ServerMessage::Resumed {
                room: number(4821),
                participant: 2,
                participants: vec![1, 2],
                away: Vec::new(),
                received: Some(4),
                ice_servers: Vec::new(),
                ice_servers_lifetime: None,
            },
            r#"{"type":"resumed","room":4821,"participant":2,"participants":[1,2],"received":4}"#,
        ),
        (
            ServerMessage::ParticipantAway {
                participant: 3,
                reason: LeaveReason::Timeout,
            },
            r#"{"type":"participantAway","participant":3,"reason":"timeout"}"#,
        ),
        (
            ServerMessage::ParticipantBack { participant: 3 },
            r#"{"type":"participantBack","participant":3}"#,
        ),
        (
            ServerMessage::Received { count: 9 },
            r#"{"type":"received","count":9}"#,
        ),
        (
            ServerMessage::IceServers {
                ice_servers: vec![IceServer {
                    urls: vec!["stun:example.org:3478".into()],
                    username: None,
                    credential: None,
                }],
                ice_servers_lifetime: None,
            },
            r#"{"type":"iceServers","iceServers":[{"urls":["stun:example.org:3478"]}]}"#,
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
            ServerMessage::Signal {
                from: 3,
                data: data("AQ"),
            },
            r#"{"type":"signal","from":3,"data":"AQ"}"#,
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
    let json = r#"{"type":"join","version":2,"room":4821,"mood":{"deep":[1]}}"#;
    assert_eq!(
        ClientMessage::parse(json),
        Ok(ClientMessage::Join {
            version: 2,
            room: number(4821),
            resumable: false,
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
            r#"{"type":"join","version":2,"room":4821"#,
            MessageError::NotAMessage,
        ),
        (r#"{"type":"dance"}"#, MessageError::UnknownType),
        (r#"{"type":"join","version":2}"#, MessageError::Malformed),
        (
            r#"{"type":"join","version":2,"room":3}"#,
            MessageError::Malformed,
        ),
        (
            r#"{"type":"join","version":-1,"room":4821}"#,
            MessageError::Malformed,
        ),
        (r#"{"type":"signal","to":1}"#, MessageError::Malformed),
        (
            r#"{"type":"signal","to":1,"data":7}"#,
            MessageError::Malformed,
        ),
        (
            r#"{"type":"signal","to":1,"data":"v=0 "}"#,
            MessageError::Malformed,
        ),
        (
            r#"{"type":"signal","to":1,"data":"AQ=="}"#,
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
    let signal = |length| ClientMessage::Signal {
        to: 1,
        data: data(&"x".repeat(length)),
    };
    assert!(ClientMessage::parse(&signal(MAX_SIGNAL).to_json()).is_ok());
    assert_eq!(
        ClientMessage::parse(&signal(MAX_SIGNAL + 1).to_json()),
        Err(MessageError::FieldTooLarge {
            field: "data",
            limit: MAX_SIGNAL
        })
    );
}

#[test]
fn what_is_sealed_is_never_too_long_to_be_passed_on() {
    let passed_on = ServerMessage::Signal {
        from: ParticipantId::MAX,
        data: data(&"x".repeat(MAX_SIGNAL)),
    };
    assert_eq!(ServerMessage::parse(&passed_on.to_json()), Ok(passed_on));
}

#[test]
fn bytes_become_text_and_back() {
    for bytes in [&[][..], &[0], &[255; 100], &[7; MAX_SIGNAL / 4 * 3]] {
        let data = SignalData::new(bytes).expect("short enough");
        assert_eq!(data.bytes().as_deref(), Some(bytes));
        assert_eq!(data.is_empty(), bytes.is_empty());
        assert!(data.len() <= MAX_SIGNAL);
    }
    assert_eq!(SignalData::new(&[7; MAX_SIGNAL / 4 * 3 + 1]), None);
    assert_eq!(data("A").bytes(), None);
    assert_eq!(data("AR").bytes(), None, "bits that mean nothing");
}

#[test]
fn debug_output_keeps_what_participants_say_to_itself() {
    let shown = format!("{:?}", data("c2VjcmV0"));
    assert_eq!(shown, "SignalData(8 characters)");
}

#[test]
fn debug_output_keeps_credentials_and_tokens_to_itself() {
    let ticket = Ticket {
        token: secret("1"),
        room_token: secret("f"),
        within: 60,
    };
    let shown = format!("{:?} {ticket:?}", relay());
    for hidden in ["hidden", "1790000000", "k9", "1111", "ffff"] {
        assert!(!shown.contains(hidden), "{shown}");
    }
}

#[test]
fn secrets_are_32_digits() {
    for wrong in [
        "",
        "1",
        &"g".repeat(32),
        &"F".repeat(32),
        &"1".repeat(33),
        &"+".repeat(32),
    ] {
        let json = format!(
            r#"{{"type":"resume","version":2,"room":4821,"participant":2,"token":"{wrong}","roomToken":"{}","participants":[2],"received":0}}"#,
            "f".repeat(32)
        );
        assert_eq!(
            ClientMessage::parse(&json),
            Err(MessageError::Malformed),
            "{wrong}"
        );
    }
    assert!(secret("1") == secret("1") && secret("1") != secret("2"));
}

#[test]
fn lists_of_servers_are_bounded() {
    let message = |servers: Vec<IceServer>| ServerMessage::IceServers {
        ice_servers: servers,
        ice_servers_lifetime: None,
    };
    let relays = |count| vec![relay(); count];
    let parse = |message: ServerMessage| ServerMessage::parse(&message.to_json()).is_ok();
    assert!(parse(message(relays(MAX_ICE_SERVERS))));
    assert!(!parse(message(relays(MAX_ICE_SERVERS + 1))));
    let mut long = relay();
    long.urls = vec!["stun:example.org".into(); MAX_ICE_URLS + 1];
    assert!(!parse(message(vec![long])));
    let mut long = relay();
    long.credential = Some("x".repeat(MAX_ICE_TEXT + 1));
    assert!(!parse(message(vec![long])));
}

proptest! {
    #[test]
    fn nothing_that_is_sent_panics(text in "\\PC{0,200}") {
        let _ = ClientMessage::parse(&text);
        let _ = ServerMessage::parse(&text);
    }

    #[test]
    fn nothing_that_looks_like_a_message_panics(
        kind in proptest::sample::select(vec!["create", "join", "signal", "error"]),
        rest in "(,\"(version|room|to|data)\":(null|-?[0-9]{1,12}|\"\\PC{0,9}\"|\\{\\}|\\[\\])){0,4}",
    ) {
        let text = format!(r#"{{"type":"{kind}"{rest}}}"#);
        let _ = ClientMessage::parse(&text);
        let _ = ServerMessage::parse(&text);
    }
}
