use std::fmt;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use pxl::Export;
use tokio::sync::OnceCell;
use tonic::codec::CompressionEncoding::Gzip;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::counts::Counts;
use crate::rows::{Columns, Made};
use crate::{CountsSnapshot, Error, Roots, dial};

/// Rows of one request at most: so that an endpoint hears of a slow query's rows, and answers within its time.
const REQUEST_ROWS_MAX: u64 = 1000;
/// Bytes of one request, before compression, from which no more rows go into it. Collectors take messages of 4 MiB unless told otherwise.
const REQUEST_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Makes sinks. A cheap handle: clones count together.
#[derive(Debug, Clone, Default)]
pub struct Exporter {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    roots: Roots,
    /// Read when the first endpoint with TLS is asked for.
    certificates: OnceCell<Vec<String>>,
    counts: Counts,
}

/// What an endpoint took, since the last time this was told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Exported {
    /// Rows.
    pub rows: u64,
    /// Data points and spans of them that it refused.
    pub refused: u64,
}

/// Where the rows of one output go. Dropping it lets go what was not sent.
pub struct Sink {
    export: Export,
    channel: Channel,
    metadata: MetadataMap,
    pending: Pending,
    exporter: Exporter,
}

/// The request that is being gathered.
#[derive(Debug, Default)]
struct Pending {
    made: Made,
    rows: u64,
    bytes: usize,
}

impl Exporter {
    /// With endpoints that have certificates of these authorities.
    pub fn new(roots: Roots) -> Exporter {
        Exporter { inner: Arc::new(Inner { roots, ..Inner::default() }) }
    }

    /// What all its sinks did so far.
    pub fn counts(&self) -> CountsSnapshot {
        self.inner.counts.snapshot()
    }

    /// For the rows of one output. Connects when there are rows.
    ///
    /// # Errors
    /// The endpoint cannot be one.
    pub async fn sink(&self, export: Export) -> Result<Sink, Error> {
        let (tls, _) = dial::address(&export.endpoint)?;
        let certificates = if tls { self.certificates().await } else { &[] };
        let channel = dial::channel(&export.endpoint, certificates)?;
        self.sink_over(channel, export)
    }

    /// As [`Self::sink`], over a connection that is there.
    ///
    /// # Errors
    /// A header cannot be sent.
    pub fn sink_over(&self, channel: Channel, export: Export) -> Result<Sink, Error> {
        let metadata = dial::metadata(&export.endpoint)?;
        Ok(Sink { export, channel, metadata, pending: Pending::default(), exporter: self.clone() })
    }

    async fn certificates(&self) -> &[String] {
        let read = || async {
            let roots = self.inner.roots.clone();
            tokio::task::spawn_blocking(move || roots.certificates()).await.unwrap_or_default()
        };
        self.inner.certificates.get_or_init(read).await
    }
}

impl Sink {
    /// Takes rows, and sends what is enough for a request. Waits for the endpoint.
    ///
    /// # Errors
    /// The endpoint did not take them: the rest is not exported either.
    pub async fn add(&mut self, batch: &RecordBatch) -> Result<Exported, Error> {
        let columns = Columns::of(batch);
        let mut exported = Exported::default();
        for row in 0..batch.num_rows() {
            self.pending.take(columns.made(&self.export, row)?);
            if self.pending.rows >= REQUEST_ROWS_MAX || self.pending.bytes >= REQUEST_BYTES_MAX {
                exported += self.flush().await?;
                // Other queries want their turn: an endpoint on this machine may answer at once, again and again.
                tokio::task::yield_now().await;
            }
        }
        Ok(exported)
    }

    /// Sends what there is.
    ///
    /// # Errors
    /// The endpoint did not take it.
    pub async fn flush(&mut self) -> Result<Exported, Error> {
        let Pending { made, rows, .. } = std::mem::take(&mut self.pending);
        if rows == 0 {
            return Ok(Exported::default());
        }
        let counts = &self.exporter.inner.counts;
        match self.send(made).await {
            Ok(refused) => {
                counts.exported(rows, refused);
                Ok(Exported { rows, refused })
            }
            Err(error) => {
                counts.failed(rows);
                tracing::warn!(rows, %error, "rows were not exported");
                Err(error)
            }
        }
    }

    /// How many data points and spans were refused.
    async fn send(&self, made: Made) -> Result<u64, Error> {
        let mut refused = 0;
        if !made.metrics.is_empty() {
            let mut client = MetricsServiceClient::new(self.channel.clone()).send_compressed(Gzip).accept_compressed(Gzip);
            let request = self.request(ExportMetricsServiceRequest { resource_metrics: made.metrics });
            if let Some(partial) = self.in_time(client.export(request)).await?.partial_success {
                refused += self.told(partial.rejected_data_points, &partial.error_message);
            }
        }
        if !made.spans.is_empty() {
            let mut client = TraceServiceClient::new(self.channel.clone()).send_compressed(Gzip).accept_compressed(Gzip);
            let request = self.request(ExportTraceServiceRequest { resource_spans: made.spans });
            if let Some(partial) = self.in_time(client.export(request)).await?.partial_success {
                refused += self.told(partial.rejected_spans, &partial.error_message);
            }
        }
        Ok(refused)
    }

    fn request<M>(&self, message: M) -> Request<M> {
        self.exporter.inner.counts.request();
        let mut request = Request::new(message);
        *request.metadata_mut() = self.metadata.clone();
        request
    }

    async fn in_time<R>(&self, call: impl Future<Output = Result<tonic::Response<R>, Status>>) -> Result<R, Error> {
        let endpoint = &self.export.endpoint;
        match tokio::time::timeout(endpoint.timeout, call).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(Error::Failed { endpoint: endpoint.url.clone(), reason: said(&status) }),
            Err(_) => Err(Error::Silent { endpoint: endpoint.url.clone(), timeout: endpoint.timeout }),
        }
    }

    /// What an endpoint says beside that it took the rest.
    fn told(&self, refused: i64, message: &str) -> u64 {
        if refused > 0 || !message.is_empty() {
            tracing::warn!(endpoint = self.export.endpoint.url, refused, message, "an endpoint did not take all that was exported");
        }
        u64::try_from(refused).unwrap_or(0)
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink").field("endpoint", &self.export.endpoint).field("rows_pending", &self.pending.rows).finish_non_exhaustive()
    }
}

impl Pending {
    fn take(&mut self, mut made: Made) {
        let metrics: usize = made.metrics.iter().map(prost::Message::encoded_len).sum();
        let spans: usize = made.spans.iter().map(prost::Message::encoded_len).sum();
        self.bytes += metrics + spans;
        self.rows += 1;
        self.made.metrics.append(&mut made.metrics);
        self.made.spans.append(&mut made.spans);
    }
}

impl std::ops::AddAssign for Exported {
    fn add_assign(&mut self, more: Exported) {
        self.rows += more.rows;
        self.refused += more.refused;
    }
}

/// The endpoint's words; the connection's, if there is none.
fn said(status: &Status) -> String {
    let cause = std::error::Error::source(status).map(dial::chain);
    match (status.message(), cause) {
        ("", None) => status.code().to_string(),
        (message, None) => format!("{} ({:?})", message, status.code()),
        ("", Some(cause)) => cause,
        (message, Some(cause)) if cause.starts_with(message) => cause,
        (message, Some(cause)) => format!("{message}: {cause}"),
    }
}
