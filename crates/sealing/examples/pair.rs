//! One side of a handshake and its channel, driven by lines: for trying another implementation
//! against this one.
//!
//! `pair join|admit ROOM OWN OTHER FINGERPRINT words|link SECRET`, the last and the fingerprint in
//! hexadecimal. Each line in is `receive HEX` or `seal HEX`; each line out `send HEX`,
//! `verified FINGERPRINT`, `wrong`, `refused`, `failed`, `opened HEX` or `error`.

#![allow(clippy::print_stdout)]

use std::io::{BufRead, stdin};

use ahoy_sealing::{
    Channel, Context, Cpace, Handshake, MessageKind, Outcome, Role, Secret, SecretKind, Secrets,
    Step, message_kind,
};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .map(|digit| digit.to_digit(16).expect("a hexadecimal digit") as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

fn carry_out(step: Step) -> Option<Channel> {
    if let Some(message) = step.send {
        println!("send {}", hex(&message));
    }
    match step.outcome? {
        Outcome::Verified {
            channel,
            remote_fingerprint,
        } => {
            println!("verified {}", hex(&remote_fingerprint));
            return Some(*channel);
        }
        Outcome::WrongCode(_) => println!("wrong"),
        Outcome::Refused(_) => println!("refused"),
        Outcome::Failed(_) => println!("failed"),
    }
    None
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [side, room, own, other, fingerprint, kind, secret] = arguments.as_slice() else {
        panic!("join|admit ROOM OWN OTHER FINGERPRINT words|link SECRET");
    };
    let number = |text: &String| text.parse().expect("a number");
    let context = Context {
        role: if side == "join" {
            Role::Joiner
        } else {
            Role::Member
        },
        room: number(room),
        own: number(own),
        other: number(other),
        epoch: 1,
    };
    let kind = if kind == "words" {
        SecretKind::Words
    } else {
        SecretKind::Link
    };
    let secret = Secret::new(kind, bytes(secret));
    let fingerprint = bytes(fingerprint).try_into().expect("32 bytes");
    let mut random = rand::rng();
    let mut handshake = if context.role == Role::Joiner {
        let (handshake, share) =
            Handshake::<Cpace>::join(context, fingerprint, &secret, &mut random).expect("a share");
        println!("send {}", hex(&share));
        handshake
    } else {
        let secrets = match kind {
            SecretKind::Words => Secrets {
                words: Some(secret),
                link: None,
            },
            SecretKind::Link => Secrets {
                words: None,
                link: Some(secret),
            },
        };
        Handshake::admit(context, fingerprint, secrets)
    };
    let mut channel: Option<Channel> = None;
    for line in stdin().lock().lines() {
        let line = line.expect("text");
        let (command, argument) = line.split_once(' ').expect("a command and its argument");
        let argument = bytes(argument);
        match (command, &mut channel) {
            ("receive", Some(channel)) if message_kind(&argument) == MessageKind::Sealed => {
                match channel.open(&argument) {
                    Ok(texts) => texts
                        .iter()
                        .for_each(|text| println!("opened {}", hex(text))),
                    Err(error) => println!("error {error}"),
                }
            }
            ("receive", _) => {
                if let Some(verified) = carry_out(handshake.receive(&argument, &mut random)) {
                    channel = Some(verified);
                }
            }
            ("seal", Some(channel)) => {
                println!(
                    "send {}",
                    hex(&channel.seal(&argument).expect("short enough"))
                );
            }
            _ => println!("error"),
        }
    }
}
