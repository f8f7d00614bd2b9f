use std::future::pending;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{MetricsService, MetricsServiceServer};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::metrics::v1::ResourceMetrics;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use parking_lot::Mutex;
use rpc::{CertificateAuthority, Security};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::codec::CompressionEncoding::Gzip;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

/// Anything that does not happen within this time never will.
const NEVER: Duration = Duration::from_mins(1);

/// What a receiver does with what it gets.
#[derive(Debug, Clone)]
pub enum Conduct {
    /// Takes it.
    Take,
    /// Takes it but for so many data points or spans.
    TakeBut(i64),
    /// Refuses the call.
    Refuse(Status),
    /// Never answers.
    Silence,
}

/// What came so far.
#[derive(Debug, Clone, Default)]
pub struct Received {
    /// In the order in which they came.
    pub metrics: Vec<ResourceMetrics>,
    /// In the order in which they came.
    pub spans: Vec<ResourceSpans>,
    /// Headers of each call.
    pub calls: Vec<MetadataMap>,
}

/// Serves until it is dropped.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    ca: Option<String>,
    received: watch::Receiver<Received>,
    conduct: Arc<Mutex<Conduct>>,
    _stop: DropGuard,
    _folder: Option<tempfile::TempDir>,
}

#[derive(Clone)]
struct Service {
    received: Arc<watch::Sender<Received>>,
    conduct: Arc<Mutex<Conduct>>,
}

impl Receiver {
    /// Without TLS.
    pub async fn plaintext(conduct: Conduct) -> Receiver {
        Receiver::start(conduct, Security::Plaintext, (None, None)).await
    }

    /// With a certificate for `localhost`.
    pub async fn tls(conduct: Conduct) -> Receiver {
        let folder = tempfile::tempdir().expect("a folder for an authority");
        let authority = CertificateAuthority::open(&folder.path().join("tls"), &[], SystemTime::now()).expect("an authority");
        let ca = std::fs::read_to_string(authority.ca_path()).expect("the authority's certificate");
        Receiver::start(conduct, Security::Tls(Box::new(authority)), (Some(ca), Some(folder))).await
    }

    async fn start(conduct: Conduct, security: Security, (ca, folder): (Option<String>, Option<tempfile::TempDir>)) -> Receiver {
        let listener = rpc::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), &security).await.expect("a port");
        let address = listener.address();
        let (sender, received) = watch::channel(Received::default());
        let conduct = Arc::new(Mutex::new(conduct));
        let service = Service { received: Arc::new(sender), conduct: Arc::clone(&conduct) };
        let stop = CancellationToken::new();
        let router = rpc::server(&security)
            .expect("a server")
            .add_service(MetricsServiceServer::new(service.clone()).accept_compressed(Gzip))
            .add_service(TraceServiceServer::new(service).accept_compressed(Gzip));
        let stopped = stop.clone().cancelled_owned();
        tokio::spawn(async move { router.serve_with_incoming_shutdown(listener.into_incoming(), stopped).await });
        Receiver { address, ca, received, conduct, _stop: stop.drop_guard(), _folder: folder }
    }

    /// As a script names it.
    pub fn url(&self) -> String {
        format!("localhost:{}", self.address.port())
    }

    /// The certificate of its authority, in PEM.
    pub fn ca(&self) -> &str {
        self.ca.as_deref().unwrap_or_default()
    }

    /// Does otherwise from now on.
    pub fn conduct(&self, conduct: Conduct) {
        *self.conduct.lock() = conduct;
    }

    /// What came so far.
    pub fn now(&self) -> Received {
        self.received.borrow().clone()
    }

    /// What came, once `enough` of it has.
    ///
    /// # Panics
    /// If it does not come.
    pub async fn received(&self, enough: impl FnMut(&Received) -> bool) -> Received {
        let mut received = self.received.clone();
        let waited = tokio::time::timeout(NEVER, received.wait_for(enough)).await;
        waited.expect("what should come has not").expect("the receiver serves").clone()
    }
}

impl Service {
    /// How many data points or spans are not taken.
    async fn take(&self, headers: MetadataMap, keep: impl FnOnce(&mut Received)) -> Result<i64, Status> {
        let conduct = self.conduct.lock().clone();
        let refused = match conduct {
            Conduct::Take => 0,
            Conduct::TakeBut(refused) => refused,
            Conduct::Refuse(status) => return Err(status),
            Conduct::Silence => pending().await,
        };
        self.received.send_modify(|received| {
            received.calls.push(headers);
            keep(received);
        });
        Ok(refused)
    }
}

#[tonic::async_trait]
impl MetricsService for Service {
    async fn export(&self, request: Request<ExportMetricsServiceRequest>) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let (headers, _, message) = request.into_parts();
        let refused = self.take(headers, |received| received.metrics.extend(message.resource_metrics)).await?;
        let partial = ExportMetricsPartialSuccess { rejected_data_points: refused, error_message: String::new() };
        Ok(Response::new(ExportMetricsServiceResponse { partial_success: (refused > 0).then_some(partial) }))
    }
}

#[tonic::async_trait]
impl TraceService for Service {
    async fn export(&self, request: Request<ExportTraceServiceRequest>) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let (headers, _, message) = request.into_parts();
        let refused = self.take(headers, |received| received.spans.extend(message.resource_spans)).await?;
        let partial = ExportTracePartialSuccess { rejected_spans: refused, error_message: String::new() };
        Ok(Response::new(ExportTraceServiceResponse { partial_success: (refused > 0).then_some(partial) }))
    }
}
