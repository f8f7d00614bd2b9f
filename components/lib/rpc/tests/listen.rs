//! Which addresses are served.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use rpc::{Security, bind};

#[tokio::test]
async fn plaintext_is_for_loopback() {
    for address in ["127.0.0.1:0", "127.8.9.1:0", "[::1]:0"] {
        let listener = bind(address.parse().unwrap(), &Security::Plaintext).await.unwrap();
        assert_ne!(listener.address().port(), 0);
    }
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let error = bind(address.parse().unwrap(), &Security::Plaintext).await.err().unwrap().to_string();
        assert_eq!(
            error,
            format!("{address} can be reached from other machines, and plaintext is served on loopback addresses only: use --tls")
        );
    }
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let first = bind("127.0.0.1:0".parse().unwrap(), &Security::Plaintext).await.unwrap();
    let error = bind(first.address(), &Security::Plaintext).await.err().unwrap().to_string();
    assert_eq!(error, format!("cannot listen on {}: the port is in use", first.address()));
}
