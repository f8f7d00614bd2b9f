use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::{CertificateAuthority, Error, PeerIdentity};

/// A client that says nothing for this long is asked whether it is there.
const KEEPALIVE_EVERY: Duration = Duration::from_mins(1);
/// A client that does not answer for this long is gone, and its queries with it.
const KEEPALIVE_ANSWER_MAX: Duration = Duration::from_secs(20);
/// A TLS handshake that takes longer is given up.
pub(crate) const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// Calls at a time on one connection. HTTP/2's customary limit.
const STREAMS_PER_CONNECTION_MAX: u32 = 100;
/// Header bytes of one call; API keys and tokens have some hundreds.
pub(crate) const HEADER_BYTES_MAX: u32 = 32 * 1024;

/// How connections are protected.
#[derive(Debug)]
pub enum Security {
    /// Not at all. Loopback only.
    Plaintext,
    /// By certificates of our own.
    Tls(Box<CertificateAuthority>),
    /// By certificates of the same authority on both ends: between parts of one Vizier.
    Mutual(Box<PeerIdentity>),
    /// By the certificate of a part, shown to clients that have none: they show a key or a token.
    Shown(Box<PeerIdentity>),
}

/// A socket that listens.
pub struct Listener {
    inner: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Where it listens; the port is a real one even if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The connections, as tonic takes them.
    pub fn into_incoming(self) -> TcpIncoming {
        TcpIncoming::from(self.inner).with_nodelay(Some(true)).with_keepalive(Some(KEEPALIVE_EVERY))
    }
}

/// Listens on `address`.
///
/// # Errors
/// The port is taken or forbidden, or `security` is plaintext and others could reach the address.
pub async fn bind(address: SocketAddr, security: &Security) -> Result<Listener, Error> {
    if matches!(security, Security::Plaintext) && !address.ip().to_canonical().is_loopback() {
        return Err(Error::PlaintextOffLoopback { address });
    }
    let bound = |source| Error::Bind { address, source };
    let inner = TcpListener::bind(address).await.map_err(bound)?;
    let address = inner.local_addr().map_err(bound)?;
    Ok(Listener { inner, address })
}

/// A gRPC server with this project's limits, to add services to.
///
/// # Errors
/// The certificates are not usable.
pub fn server(security: &Security) -> Result<Server, Error> {
    let server = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_EVERY))
        .http2_keepalive_timeout(Some(KEEPALIVE_ANSWER_MAX))
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX);
    match security {
        Security::Plaintext => Ok(server),
        Security::Mutual(identity) => server.tls_config(identity.server_tls().timeout(HANDSHAKE_MAX)).map_err(Error::Transport),
        Security::Shown(identity) => server.tls_config(identity.shown_tls().timeout(HANDSHAKE_MAX)).map_err(Error::Transport),
        Security::Tls(authority) => server.tls_config(authority.server_tls().timeout(HANDSHAKE_MAX)).map_err(Error::Transport),
    }
}
