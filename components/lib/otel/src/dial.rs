//! The way to an endpoint.

use base64::Engine as _;
use pxl::Endpoint;
use tonic::metadata::{AsciiMetadataKey, MetadataMap, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig};

use crate::Error;

/// Whose certificates endpoints may have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Roots {
    /// Of the authorities that this machine trusts. `SSL_CERT_FILE` and `SSL_CERT_DIR` name others.
    #[default]
    System,
    /// Of these authorities, in PEM.
    Pem(String),
}

impl Roots {
    /// In PEM. Reads files.
    pub(crate) fn certificates(&self) -> Vec<String> {
        match self {
            Roots::Pem(pem) => vec![pem.clone()],
            Roots::System => {
                let found = rustls_native_certs::load_native_certs();
                for error in &found.errors {
                    tracing::warn!(%error, "certificates of authorities cannot be read");
                }
                let pem = |der: &[u8]| {
                    let text = base64::engine::general_purpose::STANDARD.encode(der);
                    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
                };
                found.certs.iter().map(|certificate| pem(certificate)).collect()
            }
        }
    }
}

/// Whether TLS is spoken, and what gRPC calls the endpoint.
pub(crate) fn address(endpoint: &Endpoint) -> Result<(bool, String), Error> {
    let url = endpoint.url.trim();
    let (tls, authority) = match url.split_once("://") {
        None => (!endpoint.insecure, url),
        Some(("http", authority)) => (false, authority),
        Some(("https", authority)) => (!endpoint.insecure, authority),
        Some((scheme, _)) => return Err(refused(endpoint, format!("`{scheme}` is not gRPC: write host:port"))),
    };
    if authority.trim_end_matches('/').is_empty() {
        return Err(refused(endpoint, "it names no host: write host:port".to_owned()));
    }
    Ok((tls, format!("{}://{authority}", if tls { "https" } else { "http" })))
}

/// Connects when it is first used.
pub(crate) fn channel(endpoint: &Endpoint, roots: &[String]) -> Result<Channel, Error> {
    let (tls, address) = address(endpoint)?;
    let reason = |error: tonic::transport::Error| refused(endpoint, chain(&error));
    let mut dialled = tonic::transport::Endpoint::from_shared(address).map_err(reason)?.connect_timeout(endpoint.timeout);
    if tls {
        if roots.is_empty() {
            return Err(refused(endpoint, "this machine trusts no certificate authority: name one by SSL_CERT_FILE".to_owned()));
        }
        let config = ClientTlsConfig::new().ca_certificates(roots.iter().map(Certificate::from_pem)).timeout(endpoint.timeout);
        dialled = dialled.tls_config(config).map_err(reason)?;
    }
    Ok(dialled.connect_lazy())
}

/// What goes with each call.
pub(crate) fn metadata(endpoint: &Endpoint) -> Result<MetadataMap, Error> {
    let mut metadata = MetadataMap::new();
    for (name, value) in &endpoint.headers {
        let key = AsciiMetadataKey::from_bytes(name.to_ascii_lowercase().as_bytes());
        let key = key.map_err(|_| refused(endpoint, format!("no header can be called `{name}`")))?;
        let value = MetadataValue::try_from(value.as_str());
        let mut value = value.map_err(|_| refused(endpoint, format!("the value of header `{name}` is not ASCII")))?;
        value.set_sensitive(true);
        metadata.insert(key, value);
    }
    Ok(metadata)
}

fn refused(endpoint: &Endpoint, reason: String) -> Error {
    Error::Endpoint { endpoint: endpoint.url.clone(), reason }
}

/// The error and its causes, each once.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let said = next.to_string();
        if !text.ends_with(&said) {
            text = format!("{text}: {said}");
        }
        cause = next.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: &str, insecure: bool) -> Endpoint {
        Endpoint { url: url.to_owned(), insecure, ..Endpoint::default() }
    }

    #[test]
    fn an_endpoint_is_a_host_and_port_with_or_without_a_scheme() {
        let of = |url, insecure| address(&endpoint(url, insecure)).map_err(|error| error.to_string());
        assert_eq!(of("a:4317", false), Ok((true, "https://a:4317".to_owned())));
        assert_eq!(of("a:4317", true), Ok((false, "http://a:4317".to_owned())));
        assert_eq!(of("http://a:4317", false), Ok((false, "http://a:4317".to_owned())));
        assert_eq!(of("https://a:443", true), Ok((false, "http://a:443".to_owned())));
        assert_eq!(of("ftp://a", true), Err("OTel export to `ftp://a` is not possible: `ftp` is not gRPC: write host:port".to_owned()));
        assert_eq!(of("https://", false), Err("OTel export to `https://` is not possible: it names no host: write host:port".to_owned()));
    }

    #[test]
    fn a_header_that_cannot_be_sent_is_named_without_its_value() {
        let with = |name: &str, value: &str| Endpoint { headers: vec![(name.to_owned(), value.to_owned())], ..endpoint("a:1", true) };
        assert!(metadata(&with("Api-Key", "hunter2")).is_ok_and(|map| map.get("api-key").is_some()));
        for wrong in [with("api key", "hunter2"), with("api-key", "hunter2\n"), with("key-bin", "hunter2")] {
            let error = metadata(&wrong).expect_err("it cannot be sent").to_string();
            assert!(error.contains("`a:1`") && !error.contains("hunter2"), "{error}");
        }
    }
}
