use std::time::SystemTime;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::{Request, Status};

use crate::SigningKey;

/// Shows a fresh token of one service with each call: for tonic's `with_interceptor`.
#[derive(Debug, Clone)]
pub struct Bearer {
    key: SigningKey,
    service: String,
}

impl Bearer {
    /// `service`: who calls, as the other end's log shows it.
    pub fn new(key: SigningKey, service: impl Into<String>) -> Self {
        Self { key, service: service.into() }
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let token = format!("Bearer {}", self.key.service_token(&self.service, SystemTime::now()));
        // A token is base64url and dots.
        let value: MetadataValue<Ascii> = token.parse().map_err(|_| Status::internal("a token cannot stand in a header"))?;
        request.metadata_mut().insert("authorization", value);
        Ok(request)
    }
}
