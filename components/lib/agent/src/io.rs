//! Connections, however they are made.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::Error;

/// Bytes both ways.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection.
pub type BoxIo = Box<dyn Io>;

/// How a Kelvin is reached. In a Vizier that is TLS over TCP; in a simulation it is memory.
#[async_trait]
pub trait Connect: fmt::Debug + Send + Sync {
    /// A connection to whoever listens at `address` and can show a certificate for `server_name`.
    ///
    /// # Errors
    /// Why there is none.
    async fn connect(&self, address: &str, server_name: &str) -> Result<BoxIo, Error>;
}

/// TLS over TCP. Names are looked up again with each connection.
#[derive(Debug, Clone)]
pub(crate) struct TlsOverTcp(pub(crate) Arc<ClientConfig>);

#[async_trait]
impl Connect for TlsOverTcp {
    async fn connect(&self, address: &str, server_name: &str) -> Result<BoxIo, Error> {
        let name = ServerName::try_from(server_name.to_owned()).map_err(|_| Error::ServerName { name: server_name.to_owned() })?;
        let unreachable = |source| Error::Connect { address: address.to_owned(), source };
        let socket = TcpStream::connect(address).await.map_err(unreachable)?;
        socket.set_nodelay(true).map_err(unreachable)?;
        let stream = TlsConnector::from(Arc::clone(&self.0)).connect(name, socket).await;
        Ok(Box::new(stream.map_err(|source| Error::Handshake { peer: address.to_owned(), source })?))
    }
}
