//! The doctor asks a real TURN server.

mod support;

use ahoy_ice::doctor::{Finding, ProbeResult, conclude, observe};
use ahoy_ice::server::IceServer;
use ahoy_ice::stream::tls::ExtraRoots;
use support::{Coturn, free_port};

fn results(observed: &ahoy_ice::doctor::Observations) -> Vec<ProbeResult> {
    observed
        .servers
        .iter()
        .map(|server| server.result)
        .collect()
}

#[tokio::test]
async fn every_transport_of_a_server_is_tried() {
    let coturn = Coturn::start();
    let server = coturn.server(&[coturn.stun(), coturn.udp(), coturn.tcp(), coturn.tls()]);
    let observed = observe(&[server], &coturn.roots()).await;
    let [stun, udp, tcp, tls] = results(&observed)[..] else {
        panic!("{observed:?}");
    };
    assert!(matches!(stun, ProbeResult::Bound { .. }), "{stun:?}");
    for relay in [udp, tcp, tls] {
        assert!(matches!(relay, ProbeResult::Allocated { .. }), "{relay:?}");
    }
    let codes: Vec<_> = conclude(&observed).iter().map(Finding::code).collect();
    assert!(
        codes.contains(&"udp-works") && codes.contains(&"no-nat"),
        "{codes:?}"
    );
}

#[tokio::test]
async fn a_wrong_password_is_told_apart_on_every_transport() {
    let coturn = Coturn::start();
    let urls = [coturn.udp(), coturn.tcp(), coturn.tls()];
    let server = IceServer::new(&urls, support::USER, "wrong").expect("a server");
    let observed = observe(&[server], &coturn.roots()).await;
    assert_eq!(results(&observed), [ProbeResult::WrongCredential; 3]);
}

#[tokio::test]
async fn a_certificate_has_to_be_trusted_and_to_be_the_servers() {
    let coturn = Coturn::start();
    let trusted = coturn.server(&[coturn.tls()]);
    let observed = observe(&[trusted], &ExtraRoots::default()).await;
    assert_eq!(results(&observed), [ProbeResult::BadCertificate]);
    // Its certificate does not name this address.
    let elsewhere = Coturn::start_with(&["--listening-ip=127.0.0.2"]);
    let observed = observe(
        &[elsewhere.server(&[format!("turns:127.0.0.2:{}", elsewhere.tls_port)])],
        &elsewhere.roots(),
    )
    .await;
    assert_eq!(results(&observed), [ProbeResult::BadCertificate]);
}

#[tokio::test]
async fn dead_servers_and_unknown_names() {
    let nobody = free_port();
    let urls = [
        format!("stun:127.0.0.1:{nobody}"),
        format!("turn:127.0.0.1:{nobody}"),
        format!("turn:127.0.0.1:{nobody}?transport=tcp"),
        "turns:nobody.invalid".to_owned(),
    ];
    let server = IceServer::new(&urls, "u", "p").expect("a server");
    let observed = observe(&[server], &ExtraRoots::default()).await;
    assert_eq!(
        results(&observed),
        [
            ProbeResult::Silent,
            ProbeResult::Silent,
            ProbeResult::Unreachable,
            ProbeResult::Unresolved
        ]
    );
}
