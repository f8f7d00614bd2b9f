use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use api::internal::HelloReply;
use engine::distributed::{AgentLink, AgentTransport, PLAN_VERSION};
use hyper_util::rt::TokioIo;
use ids::AgentId;
use parking_lot::RwLock;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tonic::transport::Endpoint;

use crate::hello::{read_hello, write_reply};
use crate::io::BoxIo;
use crate::link::PeerLink;
use crate::{Error, KeepAlive};

/// From accepted to greeted. A loaded node needs a second; who takes longer holds a place among the few below.
const GREETING_MAX: Duration = Duration::from_secs(10);
/// Connections that have not said yet who they are. When a Kelvin restarts all agents come at once, over some seconds by their jitter.
const GREETINGS_MAX: usize = 256;
/// Unread bytes of one stream, and of all streams of one connection, that an agent may have under way.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// A listener that fails to accept (no file descriptors) is left alone for this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The hub's limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HubArgs {
    /// When a silent agent is given up.
    pub keep_alive: KeepAlive,
    /// Agents connected at a time; more are refused. Each costs a connection and some 100 KiB.
    pub agents_max: usize,
}

impl Default for HubArgs {
    fn default() -> Self {
        Self { keep_alive: KeepAlive::default(), agents_max: 5_000 }
    }
}

/// What the hub has seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HubCounts {
    /// Connections taken, those of agents that dialled again included.
    pub taken: u64,
    /// Connections dropped: no TLS, another authority's certificate, no greeting, another version, one agent too many.
    pub refused: u64,
    /// Bytes from agents: rows, partial results. Without what TLS adds.
    pub received_bytes: u64,
    /// Bytes to agents: plans, and that they may go on. Without what TLS adds.
    pub sent_bytes: u64,
}

/// The connections that agents have dialled to this Kelvin.
#[derive(Clone)]
pub struct Hub {
    shared: Arc<Shared>,
}

struct Shared {
    args: HubArgs,
    peers: RwLock<BTreeMap<AgentId, Peer>>,
    connected: watch::Sender<usize>,
    taken: AtomicU64,
    refused: AtomicU64,
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
    tasks: TaskTracker,
}

struct Peer {
    link: PeerLink,
    /// Tells this connection of the agent from its later ones.
    number: u64,
}

impl Hub {
    /// Without agents yet.
    pub fn new(args: HubArgs) -> Self {
        let shared = Shared {
            args,
            peers: RwLock::default(),
            connected: watch::Sender::new(0),
            taken: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            received_bytes: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
            tasks: TaskTracker::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The agents that are connected, in order.
    pub fn agents(&self) -> Vec<AgentId> {
        self.shared.peers.read().keys().copied().collect()
    }

    /// How many they are, as it changes.
    pub fn connected(&self) -> watch::Receiver<usize> {
        self.shared.connected.subscribe()
    }

    /// What was seen so far.
    pub fn counts(&self) -> HubCounts {
        let Shared { taken, refused, received_bytes, sent_bytes, .. } = &*self.shared;
        HubCounts {
            taken: taken.load(Ordering::Relaxed),
            refused: refused.load(Ordering::Relaxed),
            received_bytes: received_bytes.load(Ordering::Relaxed),
            sent_bytes: sent_bytes.load(Ordering::Relaxed),
        }
    }

    /// Takes connections until it is stopped; then lets all of them go.
    pub async fn serve(&self, listener: TcpListener, tls: Arc<ServerConfig>, stop: CancellationToken) {
        let acceptor = TlsAcceptor::from(tls);
        let greetings = Arc::new(Semaphore::new(GREETINGS_MAX));
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            let (socket, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(greeting) = Arc::clone(&greetings).try_acquire_owned() else {
                self.refuse(&peer.to_string(), "too many connections greet at a time");
                continue;
            };
            let (hub, acceptor, stop) = (self.clone(), acceptor.clone(), stop.clone());
            self.shared.tasks.spawn(async move {
                let greeted = async {
                    socket.set_nodelay(true).map_err(|source| Error::Greeting { peer: peer.to_string(), source })?;
                    let stream = acceptor.accept(socket).await.map_err(|source| Error::Handshake { peer: peer.to_string(), source })?;
                    hub.take(Box::new(stream), &peer.to_string()).await
                };
                hub.greet(greeted, (&peer.to_string(), Some(greeting)), &stop).await;
            });
        }
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }

    /// Takes one connection that was made otherwise, and keeps it until it is over or the stop.
    pub async fn serve_one(&self, io: BoxIo, peer: &str, stop: &CancellationToken) {
        self.greet(self.take(io, peer), (peer, None), stop).await;
    }

    /// Waits for the greeting, which holds a place among those that greet, and keeps the connection until it is over.
    async fn greet(
        &self,
        greeted: impl Future<Output = Result<(AgentId, u64, CancellationToken), Error>>,
        (peer, place): (&str, Option<OwnedSemaphorePermit>),
        stop: &CancellationToken,
    ) {
        let taken = tokio::select! {
            () = stop.cancelled() => return,
            taken = tokio::time::timeout(GREETING_MAX, greeted) => taken,
        };
        drop(place);
        match taken {
            Ok(Ok((agent, number, closed))) => self.keep(agent, number, &closed, stop).await,
            Ok(Err(error)) => self.refuse(peer, &with_causes(&error)),
            Err(_) => self.refuse(peer, "the greeting took too long"),
        }
    }

    /// Who comes and goes away is logged with its address: it may be a port scan, or a node with an old certificate.
    fn refuse(&self, peer: &str, reason: &str) {
        self.shared.refused.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(peer, reason, "a connection was refused");
    }

    /// Greets, and makes the connection the agent's.
    async fn take(&self, mut stream: BoxIo, address: &str) -> Result<(AgentId, u64, CancellationToken), Error> {
        let peer = || address.to_owned();
        let hello = read_hello(&mut stream).await.map_err(|source| Error::Greeting { peer: peer(), source })?;
        let agent = <[u8; 16]>::try_from(hello.agent_id.as_slice()).map_err(|_| Error::Malformed { peer: peer() })?;
        let agent = AgentId::from_bytes(agent);
        let refusal = self.refusal(agent, &hello.plan_version).unwrap_or_default();
        let reply = HelloReply { refusal: refusal.clone(), plan_version: PLAN_VERSION.to_owned() };
        write_reply(&mut stream, &reply).await.map_err(|source| Error::Greeting { peer: peer(), source })?;
        if !refusal.is_empty() {
            return Err(Error::Refused { peer: format!("agent {agent} at {address}"), reason: refusal });
        }
        let closed = CancellationToken::new();
        let io = Watched { io: stream, shared: Arc::clone(&self.shared), _closed: closed.clone().drop_guard() };
        let channel = self.channel(io).await.map_err(|source| Error::Connection { peer: peer(), source: source.into() })?;
        let number = self.shared.taken.fetch_add(1, Ordering::Relaxed);
        let link = PeerLink { channel, closed: closed.clone() };
        let again = self.shared.peers.write().insert(agent, Peer { link, number }).is_some();
        self.tell();
        tracing::info!(%agent, peer = address, again, "an agent has dialled");
        Ok((agent, number, closed))
    }

    fn refusal(&self, agent: AgentId, version: &str) -> Option<String> {
        let Shared { args, peers, .. } = &*self.shared;
        if version != PLAN_VERSION {
            return Some(format!("the agent's plans are of `{version}`, this Kelvin's of `{PLAN_VERSION}`"));
        }
        let peers = peers.read();
        let full = peers.len() >= args.agents_max && !peers.contains_key(&agent);
        full.then(|| format!("{} agents are connected to this Kelvin already", args.agents_max))
    }

    /// A channel over this one connection; it never makes another.
    async fn channel(&self, io: Watched) -> Result<tonic::transport::Channel, tonic::transport::Error> {
        let KeepAlive { every, answer_max } = self.shared.args.keep_alive;
        let mut connection = Some(io);
        let connector = tower::service_fn(move |_: http::Uri| {
            let connection = connection.take().map(TokioIo::new);
            async move { connection.ok_or_else(|| io::Error::new(io::ErrorKind::NotConnected, "the agent has to dial again")) }
        });
        Endpoint::from_static("http://agent")
            .http2_keep_alive_interval(every)
            .keep_alive_timeout(answer_max)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .connect_with_connector(connector)
            .await
    }

    /// Until the connection is over.
    async fn keep(&self, agent: AgentId, number: u64, closed: &CancellationToken, stop: &CancellationToken) {
        tokio::select! {
            () = closed.cancelled() => tracing::info!(%agent, "an agent's connection is over"),
            () = stop.cancelled() => {}
        }
        {
            let mut peers = self.shared.peers.write();
            if peers.get(&agent).is_some_and(|peer| peer.number == number) {
                peers.remove(&agent);
            }
        }
        self.tell();
    }

    fn tell(&self) {
        let connected = self.shared.peers.read().len();
        self.shared.connected.send_replace(connected);
    }
}

impl AgentTransport for Hub {
    fn link(&self, agent: AgentId) -> Result<Arc<dyn AgentLink>, String> {
        match self.shared.peers.read().get(&agent) {
            Some(peer) if !peer.link.closed.is_cancelled() => Ok(Arc::new(peer.link.clone())),
            Some(_) | None => Err("it is not connected to this Kelvin".to_owned()),
        }
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("args", &self.shared.args).field("agents", &self.shared.peers.read().len()).finish_non_exhaustive()
    }
}

/// The whole chain in one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Counts its bytes, and says when the connection is let go, by whoever held it last.
struct Watched {
    io: BoxIo,
    shared: Arc<Shared>,
    _closed: DropGuard,
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.io).poll_read(context, buffer);
        let bytes = buffer.filled().len().saturating_sub(before);
        self.shared.received_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(context, bytes);
        if let Poll::Ready(Ok(bytes)) = &written {
            self.shared.sent_bytes.fetch_add(*bytes as u64, Ordering::Relaxed);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}
