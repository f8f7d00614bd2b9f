use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::{Error, PeerIdentity};

/// TLS in which both ends show a certificate that the same authority has signed. Who shows none, or another's, is refused.
#[derive(Debug, Clone)]
pub struct MutualTls {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl MutualTls {
    /// With this identity, for connections that carry `protocol`. A peer that offers another protocol is refused.
    ///
    /// # Errors
    /// The identity is not PEM, or its parts do not go together.
    pub fn new(identity: &PeerIdentity, protocol: &str) -> Result<Self, Error> {
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&identity.ca)? {
            roots.add(certificate).map_err(Error::Mutual)?;
        }
        let chain = certificates(&identity.certificate)?;
        let key = || PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).map_err(|source| Error::Pem { what: "private key", source });
        let roots = Arc::new(roots);
        let mut server = server_config(&provider, &roots, chain.clone(), key()?)?;
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(Error::Mutual)?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key()?)
            .map_err(Error::Mutual)?;
        server.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        client.alpn_protocols.clone_from(&server.alpn_protocols);
        Ok(Self { server: Arc::new(server), client: Arc::new(client) })
    }

    /// For the end that listens.
    pub fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server)
    }

    /// For the end that dials.
    pub fn client(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.client)
    }
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let read = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    read.map_err(|source| Error::Pem { what: "certificate", source })
}

fn server_config(
    provider: &Arc<CryptoProvider>,
    roots: &Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, Error> {
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), Arc::clone(provider)).build().map_err(Error::Verifier)?;
    ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .map_err(Error::Mutual)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(Error::Mutual)
}
