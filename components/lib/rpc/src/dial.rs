use std::time::Duration;

use tonic::transport::{Channel, Endpoint};

use crate::listen::{HANDSHAKE_MAX, HEADER_BYTES_MAX};
use crate::{Error, PeerIdentity};

/// A server that does not answer for this long is not there.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// A server that says nothing for this long is asked whether it is there. Shorter than a server's: whoever waits for an answer wants to know.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);
/// A server that does not answer for this long is gone, and what was asked of it fails.
const KEEPALIVE_ANSWER_MAX: Duration = Duration::from_secs(10);

/// A channel to another part of the same Vizier, by mutual TLS: it connects when it is first used, and again whenever it must.
///
/// `address` is `host:port`; the certificate there must carry `server_name`, which is not its host where parts are dialled by their addresses.
///
/// # Errors
/// The address is none, or the certificates cannot be used.
pub fn channel(address: &str, server_name: &str, identity: &PeerIdentity) -> Result<Channel, Error> {
    let unusable = |source| Error::Address { address: address.to_owned(), source };
    let endpoint = Endpoint::from_shared(format!("https://{address}")).map_err(unusable)?;
    let tls = identity.client_tls().domain_name(server_name).timeout(HANDSHAKE_MAX);
    let endpoint = endpoint
        .tls_config(tls)
        .map_err(Error::Transport)?
        .connect_timeout(CONNECT_MAX)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE_EVERY)
        .keep_alive_timeout(KEEPALIVE_ANSWER_MAX)
        .keep_alive_while_idle(true)
        .http2_max_header_list_size(HEADER_BYTES_MAX);
    Ok(endpoint.connect_lazy())
}
