//! gRPC transport: listeners, TLS with a certificate authority of our own.
//!
//! ```text
//! state directory ── CertificateAuthority ──▶ Security ──▶ bind ──▶ tonic's incoming connections
//!  ca.crt ca.key       made once, renewed       plaintext on         server() has the limits
//!  server.crt .key     when names change        loopback only
//! ```

mod args;
mod authority;
mod certificates;
mod dial;
mod error;
mod files;
mod listen;
mod mutual;
mod provision;

pub use args::TlsArgs;
pub use authority::{CA_CERTIFICATE_FILE, CertificateAuthority, PeerIdentity};
pub use dial::channel;
pub use error::Error;
pub use files::{host_name, write_secret};
pub use listen::{Listener, Security, bind, server};
pub use mutual::MutualTls;
pub use provision::{Part, PartFiles, kubernetes_names, provision};
