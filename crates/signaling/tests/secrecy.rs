//! The words of a code appear in nothing that is sent or logged.

mod common;

use std::io::Write;
use std::sync::{Arc, Mutex};

use ahoy_signaling::link_secret::LinkSecret;
use ahoy_signaling::{CodeWords, Entry, Invite, RoomCode, RoomNumber, ServerAddress, ServerConfig};
use common::{TestServer, another, connect, next, sealed, soon};
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::client::ClientRequestBuilder;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::{accept_hdr_async, client_async};

/// Everything that was written to it.
#[derive(Clone, Default)]
struct Record(Arc<Mutex<Vec<u8>>>);

impl Record {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no panic")).to_lowercase()
    }
}

impl Write for Record {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Stands between clients and `target` and records every message and the request lines.
async fn listener_in(target: std::net::SocketAddr, record: Record) -> ServerAddress {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = ServerAddress::plain(listener.local_addr().expect("bound"));
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            tokio::spawn(pass_on(tcp, target, record.clone()));
        }
    });
    address
}

async fn pass_on(tcp: TcpStream, target: std::net::SocketAddr, mut record: Record) {
    let mut seen = record.clone();
    #[expect(
        clippy::result_large_err,
        reason = "the library's callback is declared so"
    )]
    let ours = |request: &Request, mut response: Response| {
        writeln!(seen, "{request:?}").expect("memory");
        response
            .headers_mut()
            .insert("sec-websocket-protocol", "ahoy.2".parse().expect("a value"));
        Ok(response)
    };
    let mut client = accept_hdr_async(tcp, ours).await.expect("a client");
    let uri = format!("ws://{target}/").parse().expect("an address");
    let request = ClientRequestBuilder::new(uri).with_sub_protocol("ahoy.2");
    let tcp = TcpStream::connect(target).await.expect("the server");
    let (mut server, _) = client_async(request, tcp).await.expect("the server");
    loop {
        let (message, to_server) = tokio::select! {
            Some(Ok(message)) = client.next() => (message, true),
            Some(Ok(message)) = server.next() => (message, false),
            else => return,
        };
        writeln!(record, "{message:?}").expect("memory");
        let sent = if to_server {
            server.send(message).await
        } else {
            client.send(message).await
        };
        if sent.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn the_words_are_in_no_message_and_no_log() {
    let log = Record::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();
    let wire = Record::default();
    let server = TestServer::start(ServerConfig::default()).await;
    let address = listener_in(server.socket, wire.clone()).await;

    // Words that nothing else in a log or a message would contain.
    let words: CodeWords = "zucchini-wigwam".parse().expect("two words");
    let mut ann = connect(&address, Entry::Create { reach: None })
        .await
        .expect("a room");
    let code = RoomCode {
        number: ann.seat.room,
        words,
    };
    let invite = Invite {
        server: Some(address.clone()),
        code,
        secret: Some(LinkSecret::random()),
    };
    let link = invite.link().expect("a server");
    // What a program would log about it.
    tracing::info!(?code, ?invite, seat = ?ann.seat, server = %address, "invited");

    let pasted: Invite = format!("Come! {link}").parse().expect("our own link");
    let entry = Entry::Join {
        room: pasted.code.number,
    };
    let mut ben = connect(&pasted.server.expect("a server"), entry)
        .await
        .expect("a seat");
    next(&mut ann.receiver).await;
    ben.sender.signal(1, sealed("v=0")).await.expect("sent");
    let candidate = "candidate:1 1 udp 1 192.0.2.7 9 typ host";
    ann.sender.signal(2, sealed(candidate)).await.expect("sent");
    next(&mut ann.receiver).await;
    next(&mut ben.receiver).await;
    let wrong = Entry::Join {
        room: another(code.number),
    };
    let error = connect(&address, wrong).await.expect_err("an unknown room");
    tracing::error!(%error, ?error, "could not join");
    let typo = format!("{}-{words}mmm", code.number);
    let error = typo.parse::<Invite>().expect_err("no code");
    tracing::error!(%error, ?error, "could not read");
    soon(ben.sender.leave()).await;
    next(&mut ann.receiver).await;
    soon(ann.sender.leave()).await;
    server.stop().await;

    // The record works: the number is there, and what was logged on purpose.
    let (wire, log) = (wire.text(), log.text());
    let secret = invite
        .secret
        .map(|secret| secret.to_string().to_lowercase());
    let secret = secret.expect("one was made");
    assert!(!wire.contains(&secret) && !log.contains(&secret));
    assert!(
        wire.contains(&format!("\\\"room\\\":{}", code.number)),
        "{wire}"
    );
    assert!(
        log.contains("invited") && log.contains("could not join"),
        "{log}"
    );
    for word in words.iter() {
        // As a whole word: a short one may stand inside an unrelated one.
        for (name, text) in [("wire", &wire), ("log", &log)] {
            let found = text
                .split(|c: char| !c.is_ascii_alphabetic())
                .any(|part| part == word);
            assert!(!found, "{word} is in the {name}: {text}");
        }
    }
    let ours: Vec<&str> = log
        .lines()
        .filter(|line| line.contains(" ahoy_signaling::"))
        .collect();
    assert!(!ours.is_empty(), "the library logs at this level: {log}");
    for address in ["192.0.2.7", "127.0.0.1"] {
        let found = ours.iter().find(|line| line.contains(address));
        assert_eq!(found, None, "an address is in our log");
    }
}

#[test]
fn a_room_number_is_all_that_a_code_gives_to_a_server() {
    let code: RoomCode = "4821-amber-otter".parse().expect("a code");
    let number = serde_json::to_string(&code.number).expect("a number");
    assert_eq!(
        (number.as_str(), RoomNumber::new(4821)),
        ("4821", Some(code.number))
    );
}
