use api::cloudapi::OrgInfo;
use api::cloudapi::organization_service_server::OrganizationService;
use api::uuidpb;
use ids::OrgId;
use tonic::{Request, Response, Status};

use super::PublicApi;
use crate::caller::internal;
use crate::wire;

#[tonic::async_trait]
impl OrganizationService for PublicApi {
    async fn get_org(&self, request: Request<uuidpb::Uuid>) -> Result<Response<OrgInfo>, Status> {
        let caller = self.callers.identify(request.metadata()).await?;
        let asked = request.into_inner();
        let asked = OrgId::from_halves(asked.high_bits, asked.low_bits);
        let org = if asked == caller.org { self.store.org(asked).await.map_err(|error| internal(&error))? } else { None };
        let org = org.ok_or_else(|| Status::not_found("there is no such organisation"))?;
        Ok(Response::new(OrgInfo { id: Some(wire::id(org.id)), org_name: org.name, ..Default::default() }))
    }
}
