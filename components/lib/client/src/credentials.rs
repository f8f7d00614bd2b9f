use std::fmt;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::{Request, Status};

use crate::Error;

/// Which client this is, for the server's statistics.
const CLIENT_HEADER: &str = "pixie-api-client";

/// What is shown with each call. Headers: api.md, sections 7.3 and 8.1.
#[derive(Clone, Default)]
pub enum Credentials {
    /// Nothing.
    #[default]
    None,
    /// A key of the control plane's, or of a Vizier that has a file of them.
    ApiKey(String),
    /// A token of the control plane's.
    Token(String),
    /// A key of the Vizier that is asked directly.
    DirectKey(String),
}

/// No secret is shown.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Credentials::None => "None",
            Credentials::ApiKey(_) => "ApiKey(…)",
            Credentials::Token(_) => "Token(…)",
            Credentials::DirectKey(_) => "DirectKey(…)",
        })
    }
}

/// How somebody is called.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Who has signed the server's certificate: certificates in PEM. With it TLS is used unless the address says `http://`.
    pub authority: Option<Vec<u8>>,
    /// What is shown.
    pub credentials: Credentials,
}

/// Shows them.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    header: Option<(&'static str, MetadataValue<Ascii>)>,
}

impl Shown {
    pub(crate) fn new(credentials: &Credentials) -> Result<Self, Error> {
        let (name, text) = match credentials {
            Credentials::None => return Ok(Self { header: None }),
            Credentials::ApiKey(key) => ("pixie-api-key", key.clone()),
            Credentials::Token(token) => ("authorization", format!("bearer {token}")),
            Credentials::DirectKey(key) => ("x-direct-vizier-key", key.clone()),
        };
        let mut value: MetadataValue<Ascii> = text.parse().map_err(|_| Error::Credentials)?;
        value.set_sensitive(true);
        Ok(Self { header: Some((name, value)) })
    }
}

impl Interceptor for Shown {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert(CLIENT_HEADER, MetadataValue::from_static("rust"));
        if let Some((name, value)) = &self.header {
            request.metadata_mut().insert(*name, value.clone());
        }
        Ok(request)
    }
}
