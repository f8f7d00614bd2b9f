use api::MESSAGE_BYTES_MAX;
use api::cloudapi::vizier_cluster_info_server::VizierClusterInfoServer;
use api::vizierpb::vizier_debug_service_server::VizierDebugServiceServer;
use api::vizierpb::vizier_service_server::VizierServiceServer;
use tonic::codec::CompressionEncoding;
use tonic::service::interceptor::InterceptedService;
use tonic::service::{Routes, RoutesBuilder};
use tonic::{Request, Status};

use crate::{Broker, Error, health};

/// Header in which a request says how it is compressed.
const ENCODING: &str = "grpc-encoding";
/// Header in which a request says what it could read.
const ACCEPT_ENCODING: &str = "grpc-accept-encoding";

/// The services of a broker, for a server that has others beside them.
pub fn routes(broker: &Broker) -> Routes {
    let vizier = VizierServiceServer::new(broker.clone())
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .accept_compressed(CompressionEncoding::Gzip)
        .send_compressed(CompressionEncoding::Gzip);
    let clusters = VizierClusterInfoServer::new(broker.clone())
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .accept_compressed(CompressionEncoding::Gzip)
        .send_compressed(CompressionEncoding::Gzip);
    let debug = VizierDebugServiceServer::new(broker.clone())
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .accept_compressed(CompressionEncoding::Gzip)
        .send_compressed(CompressionEncoding::Gzip);
    let mut routes = RoutesBuilder::default();
    let access = broker.inner.access.clone();
    let admit = move |request: Request<()>| access.admit(request).and_then(answer_in_kind);
    routes
        .add_service(InterceptedService::new(vizier, admit.clone()))
        .add_service(InterceptedService::new(clusters, admit.clone()))
        .add_service(InterceptedService::new(debug, admit));
    routes.routes()
}

/// Serves until the broker's stop is cancelled and its calls have ended. The self-test runs as long.
///
/// # Errors
/// The certificates are unusable or the server fails.
pub async fn serve(broker: Broker, listener: rpc::Listener, security: rpc::Security) -> Result<(), Error> {
    let server = rpc::server(&security)?.add_routes(routes(&broker));
    let stop = broker.inner.stop.clone();
    broker.inner.tasks.spawn(health::keep_testing(broker.clone()));
    server.serve_with_incoming_shutdown(listener.into_incoming(), stop.cancelled_owned()).await.map_err(Error::Serve)
}

/// Every gRPC library says that it could read gzip, few want it: answers are compressed for those who compress their requests.
#[expect(clippy::unnecessary_wraps, reason = "an interceptor's signature")]
fn answer_in_kind(mut request: Request<()>) -> Result<Request<()>, Status> {
    if !request.metadata().contains_key(ENCODING) {
        request.metadata_mut().remove(ACCEPT_ENCODING);
    }
    Ok(request)
}
