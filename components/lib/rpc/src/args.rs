use std::path::PathBuf;

use clap::Args;

use crate::{Error, MutualTls, PeerIdentity, Security};

/// How a part of a Vizier shows itself to the others. One certificate, good for both ends of a connection.
#[derive(Debug, Clone, Args)]
pub struct TlsArgs {
    /// Certificate of the authority that has signed those of all parts of this Vizier, in PEM.
    #[arg(long, env = "PX_TLS_CA_CERT", value_name = "FILE")]
    pub tls_ca_cert: PathBuf,

    /// This part's certificate, good for server and client, in PEM.
    #[arg(long, env = "PX_TLS_CERT", value_name = "FILE")]
    pub tls_cert: PathBuf,

    /// Its private key, in PEM.
    #[arg(long, env = "PX_TLS_KEY", value_name = "FILE")]
    pub tls_key: PathBuf,
}

impl TlsArgs {
    /// What the files hold.
    ///
    /// # Errors
    /// One cannot be read.
    pub fn identity(&self) -> Result<PeerIdentity, Error> {
        PeerIdentity::read(&self.tls_ca_cert, &self.tls_cert, &self.tls_key)
    }

    /// For a gRPC listener that takes parts of the same Vizier only.
    ///
    /// # Errors
    /// As [`Self::identity`].
    pub fn security(&self) -> Result<Security, Error> {
        self.identity().map(|identity| Security::Mutual(Box::new(identity)))
    }

    /// For connections that are no gRPC listener's.
    ///
    /// # Errors
    /// As [`Self::identity`], or its parts do not go together.
    pub fn mutual(&self, protocol: &str) -> Result<MutualTls, Error> {
        MutualTls::new(&self.identity()?, protocol)
    }
}
