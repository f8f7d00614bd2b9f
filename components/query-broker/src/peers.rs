//! Connections to other parts of the same Vizier.

use std::sync::Arc;
use std::time::Duration;

use rpc::PeerIdentity;
use tonic::transport::{Channel, Endpoint};

use crate::Error;

/// A part that cannot be reached within this time is tried again, or another one is.
const CONNECT_MAX: Duration = Duration::from_secs(3);
/// A peer that says nothing for this long is asked whether it is there, also when nothing is asked of it: a frozen one shows before it is
/// needed.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);
/// One that does not answer for this long is gone. With less, parts under full load are taken for dead.
const KEEPALIVE_ANSWER_MAX: Duration = Duration::from_secs(10);
/// Bytes of one answer that may be under way unread: a Kelvin's largest message, so that the next one is made while this one is sent on.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
/// The same for all answers of a connection: as many as queries may run, so that those nobody reads hold up no others.
const CONNECTION_WINDOW_BYTES: u32 = crate::limits::CONCURRENT_QUERIES_MAX as u32 * STREAM_WINDOW_BYTES;

/// Makes a channel to another part: its address, and the name of its certificate. In a Vizier that is TLS over TCP; in a simulation it is
/// memory.
pub type Connect = Arc<dyn Fn(&str, &str) -> Result<Channel, Error> + Send + Sync>;

/// With mutual TLS.
pub(crate) fn over_tls(identity: PeerIdentity) -> Connect {
    Arc::new(move |address, name| channel(address, name, &identity))
}

/// Connects when it is first used, and again whenever it must. `name` is that of the peer's certificate; empty: the address's host.
pub(crate) fn channel(address: &str, name: &str, identity: &PeerIdentity) -> Result<Channel, Error> {
    let wrong = |source| Error::Peer { address: address.to_owned(), source };
    let mut tls = identity.client_tls();
    if !name.is_empty() {
        tls = tls.domain_name(name);
    }
    let endpoint = Endpoint::from_shared(format!("https://{address}")).map_err(wrong)?;
    let endpoint = endpoint
        .connect_timeout(CONNECT_MAX)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE_EVERY)
        .keep_alive_timeout(KEEPALIVE_ANSWER_MAX)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .tls_config(tls)
        .map_err(wrong)?;
    Ok(endpoint.connect_lazy())
}
