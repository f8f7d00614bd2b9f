use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a listener or its certificates are not there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else has the port, or it may not be had.
    #[error("cannot listen on {address}{}", if .source.kind() == io::ErrorKind::AddrInUse { ": the port is in use" } else { "" })]
    Bind {
        /// Where.
        address: SocketAddr,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Plaintext is for loopback.
    #[error("{address} can be reached from other machines, and plaintext is served on loopback addresses only: use --tls")]
    PlaintextOffLoopback {
        /// Where.
        address: SocketAddr,
    },
    /// A file of the state directory cannot be read or written.
    #[error("cannot {action} {}", path.display())]
    File {
        /// Read, write, …
        action: &'static str,
        /// Which.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A file of the state directory holds something else.
    #[error("{} holds no usable {what}: remove it together with its neighbours to have new ones made ({reason})", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// Certificate or key.
        what: &'static str,
        /// What the reader said.
        reason: String,
    },
    /// One of a pair of files is missing.
    #[error("{} is missing while {} exists: restore it, or remove both to have new ones made", missing.display(), present.display())]
    HalfPair {
        /// Which is not there.
        missing: PathBuf,
        /// Which is.
        present: PathBuf,
    },
    /// A name that no certificate can carry.
    #[error("`{name}` cannot stand in a certificate: it is neither a host name nor an IP address")]
    Name {
        /// As given.
        name: String,
    },
    /// A name that no part can have, since its files are called by it.
    #[error("`{name}` cannot be the name of a part: letters, digits, `-` and `_` can, and `ca` is the authority's")]
    PartName {
        /// As given.
        name: String,
    },
    /// Making keys or certificates failed.
    #[error("cannot make a certificate")]
    Generate(#[source] rcgen::Error),
    /// A certificate or key that is not PEM.
    #[error("the {what} is not PEM")]
    Pem {
        /// Certificate or key.
        what: &'static str,
        /// What the reader said.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// Certificates and key do not go together, or are of a kind that we do not take.
    #[error("the certificates for mutual TLS cannot be used")]
    Mutual(#[source] rustls::Error),
    /// The authority's certificate cannot verify anybody.
    #[error("the authority's certificate cannot verify peers")]
    Verifier(#[source] rustls::server::VerifierBuilderError),
    /// No address of a server.
    #[error("`{address}` is not the address of a server: host:port is")]
    Address {
        /// As given.
        address: String,
        /// What the parser said.
        #[source]
        source: tonic::transport::Error,
    },
    /// The transport refused its configuration.
    #[error("the gRPC transport refused its TLS configuration")]
    Transport(#[source] tonic::transport::Error),
}
