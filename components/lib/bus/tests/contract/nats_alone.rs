//! What only a real server can show.

use std::io::Write as _;
use std::net::TcpStream;

use api::vizier::messages::MetricsMessage;
use bus::subject::metrics;
use bus::{Bus, Credentials, Error, Link, Nats, Reason, Secret};
use harness_nats::{Certificates, NatsServer, Setup};
use prost::Message as _;

use crate::world::{PATIENCE, lost, soon, tls};

/// Why a connection is not made. A reason that someone has to mend is told at once to whoever waits for a connection.
async fn reason(nats: Nats) -> Reason {
    let bus = nats.connect().await.unwrap();
    let mut link = bus.link();
    let told = |link: &Link| !matches!(link, Link::Disconnected { reason: Reason::Starting | Reason::Lost, .. });
    let told = soon(link.wait_for(told)).await.unwrap().clone();
    let Link::Disconnected { reason, .. } = told else { panic!("it is connected") };
    if reason.is_configuration() {
        let waited = soon(bus.connected(PATIENCE * 10)).await;
        assert!(matches!(waited, Err(Error::Disconnected { .. })), "{waited:?}");
    }
    reason
}

fn with_token(server: &NatsServer, token: &str) -> Nats {
    let mut nats = Nats::new(server.url(), "client");
    nats.credentials = Credentials::Token(Secret::new(token));
    nats
}

#[tokio::test]
async fn a_wrong_token_is_refused_by_name() {
    if !NatsServer::is_available() {
        return;
    }
    let server = NatsServer::start(&Setup { token: Some("right"), ..Setup::default() }).unwrap();
    let refused = reason(with_token(&server, "wrong")).await;
    assert!(matches!(refused, Reason::Refused(_)), "{refused:?}");
    let refused = reason(Nats::new(server.url(), "client")).await;
    assert!(matches!(refused, Reason::Refused(_)), "{refused:?}");
    with_token(&server, "right").connect().await.unwrap().connected(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused_by_name_whoever_shows_it() {
    if !NatsServer::is_available() {
        return;
    }
    let (ours, others) = (Certificates::new().unwrap(), Certificates::new().unwrap());
    let server = NatsServer::start(&Setup { certificates: Some(&ours), ..Setup::default() }).unwrap();
    let mut client = Nats::new(server.url(), "client");
    client.tls = Some(tls(&ours));
    client.clone().connect().await.unwrap().connected(PATIENCE).await.unwrap();

    // The server is not whom the client trusts.
    let mut mistrusting = client.clone();
    mistrusting.tls = Some(bus::TlsFiles { ca: others.client.ca.clone(), ..tls(&ours) });
    let untrusted = reason(mistrusting).await;
    assert!(matches!(untrusted, Reason::Untrusted(_)), "{untrusted:?}");

    // The client is not whom the server trusts.
    let mut mistrusted = client.clone();
    mistrusted.tls = Some(bus::TlsFiles { ca: ours.client.ca.clone(), ..tls(&others) });
    let untrusted = reason(mistrusted).await;
    assert!(matches!(untrusted, Reason::Untrusted(_)), "{untrusted:?}");

    // The files hold something else.
    let mut confused = client.clone();
    confused.tls = Some(bus::TlsFiles { key: ours.client.ca.clone(), ..tls(&ours) });
    let untrusted = reason(confused).await;
    assert!(matches!(untrusted, Reason::Untrusted(_)), "{untrusted:?}");
}

#[tokio::test]
async fn renewed_certificates_are_used_by_the_next_connection() {
    if !NatsServer::is_available() {
        return;
    }
    let (old, new) = (Certificates::new().unwrap(), Certificates::new().unwrap());
    let mut server = NatsServer::start(&Setup { certificates: Some(&old), ..Setup::default() }).unwrap();
    let mut client = Nats::new(server.url(), "client");
    client.tls = Some(tls(&old));
    let bus = client.connect().await.unwrap();
    bus.connected(PATIENCE).await.unwrap();
    server.stop().unwrap();
    lost(&bus).await;
    for (old, new) in [(&old.server, &new.server), (&old.client, &new.client)] {
        for (to, from) in [(&old.ca, &new.ca), (&old.certificate, &new.certificate), (&old.key, &new.key)] {
            std::fs::copy(from, to).unwrap();
        }
    }
    server.start_again().unwrap();
    // Not `connected`: an attempt that read half of them may have been refused.
    let mut link = bus.link();
    soon(link.wait_for(Link::is_connected)).await.unwrap();
}

#[tokio::test]
async fn a_client_with_tls_never_speaks_without() {
    if !NatsServer::is_available() {
        return;
    }
    let certificates = Certificates::new().unwrap();
    let server = NatsServer::start(&Setup::default()).unwrap();
    let mut client = Nats::new(server.url(), "client");
    client.tls = Some(tls(&certificates));
    let refused = reason(client).await;
    assert!(!matches!(refused, Reason::Refused(_)), "{refused:?}");
}

#[tokio::test]
async fn a_server_that_comes_later_is_found() {
    if !NatsServer::is_available() {
        return;
    }
    let mut server = NatsServer::start(&Setup::default()).unwrap();
    server.stop().unwrap();
    let bus = Nats::new(server.url(), "early").connect().await.unwrap();
    let mut subscription = bus.subscribe(metrics()).await.unwrap();
    let mut link = bus.link();
    let told = |link: &Link| matches!(link, Link::Disconnected { reason: Reason::Unreachable(_), .. });
    soon(link.wait_for(told)).await.unwrap();
    server.start_again().unwrap();
    bus.connected(PATIENCE).await.unwrap();
    say_hello(&bus).await;
    assert_eq!(soon(subscription.next()).await.unwrap().message.pod_name, "hello");
}

async fn say_hello(bus: &Bus) {
    let hello = MetricsMessage { pod_name: "hello".to_owned(), ..MetricsMessage::default() };
    bus.publish(&metrics(), &hello).await.unwrap();
}

#[tokio::test]
async fn a_peer_of_another_make_is_heard_and_has_no_name() {
    if !NatsServer::is_available() {
        return;
    }
    let server = NatsServer::start(&Setup::default()).unwrap();
    let bus = Nats::new(server.url(), "reader").connect().await.unwrap();
    bus.connected(PATIENCE).await.unwrap();
    let mut subscription = bus.subscribe(metrics()).await.unwrap();
    let mut peer = TcpStream::connect(server.url().trim_start_matches("nats://")).unwrap();
    let good = MetricsMessage { pod_name: "pl/pem".to_owned(), ..MetricsMessage::default() }.encode_to_vec();
    peer.write_all(b"CONNECT {\"verbose\":false}\r\nPUB Metrics 3\r\n\xff\xff\xff\r\n").unwrap();
    peer.write_all(format!("PUB Metrics {}\r\n", good.len()).as_bytes()).unwrap();
    peer.write_all(&[&good[..], b"\r\n"].concat()).unwrap();
    let received = soon(subscription.next()).await.unwrap();
    assert_eq!((received.message.pod_name.as_str(), received.sender), ("pl/pem", None));
    assert_eq!(subscription.undecodable(), 1);
}
