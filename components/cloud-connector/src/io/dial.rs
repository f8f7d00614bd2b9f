//! Channels to who is outside this Vizier, or serves clients from outside.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use rpc::PeerIdentity;
use tonic::codegen::http::Uri;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::Error;

/// A server that does not answer for this long is not there.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// One that says nothing for this long is asked whether it is there: a bridge through a firewall dies silently.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(20);
/// One that does not answer for this long is gone.
const KEEPALIVE_ANSWER_MAX: Duration = Duration::from_secs(10);

/// Where systems keep the certificates of those they trust: Debian and its kin, Red Hat and its.
const SYSTEM_ROOTS: [&str; 2] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

/// A channel that connects when it is first used, and again whenever it must. TLS unless the address says `http://`, which is for this
/// machine only. `server_name`: what the certificate there carries; empty: the address's host. `own`: what is shown to a server that asks for
/// a certificate.
pub(crate) fn channel(address: &str, authority: Option<&Path>, server_name: &str, own: Option<&PeerIdentity>) -> Result<Channel, Error> {
    let wrong = || Error::Address { address: address.to_owned() };
    let (host_and_port, tls) = match address.split_once("://") {
        Some(("https", rest)) => (rest, true),
        Some(("http", rest)) => (rest, false),
        Some(_) => return Err(wrong()),
        None => (address, true),
    };
    let uri: Uri =
        format!("{}://{}", if tls { "https" } else { "http" }, host_and_port.trim_end_matches('/')).parse().map_err(|_| wrong())?;
    let host = uri.host().filter(|host| !host.is_empty() && uri.port().is_some()).ok_or_else(wrong)?;
    if !tls && !is_local(host) {
        return Err(Error::PlaintextOffLoopback { address: address.to_owned() });
    }
    let setup = |source| Error::Setup { address: address.to_owned(), source };
    let mut endpoint = Endpoint::from(uri)
        .connect_timeout(CONNECT_MAX)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE_EVERY)
        .keep_alive_timeout(KEEPALIVE_ANSWER_MAX)
        .keep_alive_while_idle(true);
    if tls {
        let mut config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(roots(address, authority)?));
        if !server_name.is_empty() {
            config = config.domain_name(server_name);
        }
        if let Some(own) = own {
            config = config.identity(Identity::from_pem(&own.certificate, &own.key));
        }
        endpoint = endpoint.tls_config(config).map_err(setup)?;
    }
    Ok(endpoint.connect_lazy())
}

fn roots(address: &str, authority: Option<&Path>) -> Result<Vec<u8>, Error> {
    if let Some(path) = authority {
        return std::fs::read(path).map_err(|source| Error::File { action: "read", path: path.to_owned(), source });
    }
    SYSTEM_ROOTS.iter().find_map(|path| std::fs::read(path).ok()).ok_or_else(|| Error::NoAuthority { address: address.to_owned() })
}

fn is_local(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn plaintext_never_leaves_the_machine() {
        let refused = |address: &str| channel(address, Some(Path::new("/nowhere")), "", None).unwrap_err().to_string();
        assert!(channel("http://127.0.0.1:1", None, "", None).is_ok() && channel("http://[::1]:1", None, "", None).is_ok());
        assert!(refused("http://cloud.example:1").contains("over TLS only"));
        assert_eq!(refused("cloud.example:1"), "cannot read /nowhere");
        for text in ["", "host", "ftp://x:1", "https://", "a b:1"] {
            assert!(refused(text).contains("is not an address"), "{text}");
        }
    }
}
