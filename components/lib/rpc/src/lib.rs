//! gRPC transport: listeners, TLS with a certificate authority of our own.
//!
//! ```text
//! state directory ── CertificateAuthority ──▶ Security ──▶ bind ──▶ tonic's incoming connections
//!  ca.crt ca.key       made once, renewed       plaintext on         server() has the limits
//!  server.crt .key     when names change        loopback only
//! ```

mod authority;
mod certificates;
mod error;
mod files;
mod listen;
mod mutual;

pub use authority::{CA_CERTIFICATE_FILE, CertificateAuthority, PeerIdentity};
pub use error::Error;
pub use files::host_name;
pub use listen::{Listener, Security, bind, server};
pub use mutual::MutualTls;
