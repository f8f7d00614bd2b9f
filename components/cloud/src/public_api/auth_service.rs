use std::time::{SystemTime, UNIX_EPOCH};

use api::cloudapi::auth_service_server::AuthService;
use api::cloudapi::{LoginReply, LoginRequest};
use auth::API_KEY_HEADER;
use tonic::{Request, Response, Status};

use super::PublicApi;
use crate::caller::TOKEN_VALID;

#[tonic::async_trait]
impl AuthService for PublicApi {
    async fn login(&self, request: Request<LoginRequest>) -> Result<Response<LoginReply>, Status> {
        let caller = if request.metadata().contains_key(API_KEY_HEADER) {
            self.callers.identify(request.metadata()).await?
        } else {
            self.callers.by_api_key(&request.get_ref().access_token).await?
        };
        let now = SystemTime::now();
        let expires = (now + TOKEN_VALID).duration_since(UNIX_EPOCH).unwrap_or_default();
        let expires_at = i64::try_from(expires.as_secs()).unwrap_or(i64::MAX);
        Ok(Response::new(LoginReply { token: self.callers.token(caller, now), expires_at }))
    }
}
