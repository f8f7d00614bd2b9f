//! A network in memory: listeners with addresses, connections that can be cut and stalled.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use agent::BoxIo;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Bytes under way in one direction.
const PIPE_BYTES: usize = 256 * 1024;
/// Connections that a listener has not accepted yet.
const BACKLOG: usize = 64;

/// Where the parts of one world meet. Clones are the same network.
#[derive(Debug, Clone, Default)]
pub(crate) struct Net {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    listeners: BTreeMap<String, Listener>,
    wires: Vec<Wire>,
    split: BTreeSet<(String, String)>,
}

#[derive(Debug)]
struct Listener {
    owner: String,
    accept: mpsc::Sender<io::Result<Plug>>,
}

#[derive(Debug)]
struct Wire {
    ends: (String, String),
    gate: Arc<Gate>,
    cut: CancellationToken,
}

/// Lets nothing through while it is closed, and says nothing either: as to a process that is stopped, or a route that is gone.
#[derive(Debug, Default)]
struct Gate {
    state: Mutex<(bool, Vec<Waker>)>,
}

impl Gate {
    fn set_closed(&self, closed: bool) {
        let wakers = {
            let mut state = self.state.lock();
            state.0 = closed;
            if closed { vec![] } else { std::mem::take(&mut state.1) }
        };
        for waker in wakers {
            waker.wake();
        }
    }

    /// Whether nothing gets through; then whoever asks is woken when it does.
    fn holds(&self, context: &Context<'_>) -> bool {
        let mut state = self.state.lock();
        if state.0 {
            state.1.push(context.waker().clone());
        }
        state.0
    }
}

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct Plug {
    io: DuplexStream,
    gate: Arc<Gate>,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    dead: bool,
}

impl Plug {
    fn new(io: DuplexStream, gate: Arc<Gate>, cut: &CancellationToken) -> Plug {
        Plug { io, gate, cut: Box::pin(cut.clone().cancelled_owned()), dead: false }
    }

    fn check(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.dead || self.cut.as_mut().poll(context).is_ready() {
            self.dead = true;
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if self.gate.holds(context) { Poll::Pending } else { Poll::Ready(Ok(())) }
    }
}

impl AsyncRead for Plug {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.check(context))?;
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl AsyncWrite for Plug {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        std::task::ready!(self.check(context))?;
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.check(context))?;
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.dead {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

impl tonic::transport::server::Connected for Plug {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

/// What a listener accepts.
pub(crate) type Incoming = ReceiverStream<io::Result<Plug>>;

impl Net {
    /// Listens for `owner`; a listener of before at this address hears no more.
    pub(crate) fn listen(&self, owner: &str, address: &str) -> Incoming {
        let (accept, incoming) = mpsc::channel(BACKLOG);
        self.inner.lock().listeners.insert(address.to_owned(), Listener { owner: owner.to_owned(), accept });
        ReceiverStream::new(incoming)
    }

    /// A connection of `from`.
    ///
    /// # Errors
    /// Nobody listens there, the two are split, or too many wait already.
    pub(crate) fn connect(&self, from: &str, address: &str) -> io::Result<Plug> {
        let mut inner = self.inner.lock();
        let Some(listener) = inner.listeners.get(address) else { return Err(io::ErrorKind::ConnectionRefused.into()) };
        let ends = (from.to_owned(), listener.owner.clone());
        if inner.split.contains(&pair(&ends.0, &ends.1)) {
            return Err(io::ErrorKind::HostUnreachable.into());
        }
        let (here, there) = tokio::io::duplex(PIPE_BYTES);
        let (gate, cut) = (Arc::new(Gate::default()), CancellationToken::new());
        let accepted = listener.accept.try_send(Ok(Plug::new(there, Arc::clone(&gate), &cut)));
        accepted.map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
        let plug = Plug::new(here, Arc::clone(&gate), &cut);
        inner.wires.retain(|wire| !wire.cut.is_cancelled());
        inner.wires.push(Wire { ends, gate, cut });
        Ok(plug)
    }

    /// The part is gone: nobody listens at its addresses, and its connections break.
    pub(crate) fn crash(&self, part: &str) {
        let mut inner = self.inner.lock();
        inner.listeners.retain(|_, listener| listener.owner != part);
        inner.each(|ends| ends.0 == part || ends.1 == part, |wire| wire.cut.cancel());
    }

    /// Breaks the connections of two parts. They can connect again.
    pub(crate) fn cut(&self, one: &str, other: &str) {
        self.inner.lock().each(|ends| pair(&ends.0, &ends.1) == pair(one, other), |wire| wire.cut.cancel());
    }

    /// Breaks their connections, and lets them make no others.
    pub(crate) fn split(&self, one: &str, other: &str) {
        self.inner.lock().split.insert(pair(one, other));
        self.cut(one, other);
    }

    /// Nothing goes through the connections that the part has now, until it is told otherwise.
    pub(crate) fn stall(&self, part: &str, stalled: bool) {
        self.inner.lock().each(|ends| ends.0 == part || ends.1 == part, |wire| wire.gate.set_closed(stalled));
    }

    /// Undoes every split and stall.
    pub(crate) fn heal(&self) {
        let mut inner = self.inner.lock();
        inner.split.clear();
        inner.each(|_| true, |wire| wire.gate.set_closed(false));
    }
}

impl Inner {
    fn each(&mut self, chosen: impl Fn(&(String, String)) -> bool, does: impl Fn(&Wire)) {
        for wire in self.wires.iter().filter(|wire| chosen(&wire.ends)) {
            does(wire);
        }
    }
}

fn pair(one: &str, other: &str) -> (String, String) {
    if one <= other { (one.to_owned(), other.to_owned()) } else { (other.to_owned(), one.to_owned()) }
}

/// How an agent reaches Kelvins in this network.
#[derive(Debug)]
pub(crate) struct Dialling {
    /// The network.
    pub(crate) net: Net,
    /// Who dials.
    pub(crate) from: String,
}

#[async_trait::async_trait]
impl agent::Connect for Dialling {
    async fn connect(&self, address: &str, _server_name: &str) -> Result<BoxIo, agent::Error> {
        let plug = self.net.connect(&self.from, address).map_err(|source| agent::Error::Connect { address: address.to_owned(), source })?;
        Ok(Box::new(plug))
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_cut_breaks_and_what_is_stalled_waits() {
        let net = Net::default();
        let mut incoming = net.listen("b", "b:1");
        let mut here = net.connect("a", "b:1").unwrap();
        let mut there = incoming.next().await.unwrap().unwrap();
        here.write_all(b"1").await.unwrap();
        assert_eq!(there.read_u8().await.unwrap(), b'1');
        net.stall("a", true);
        let reading = tokio::time::timeout(std::time::Duration::from_mins(1), there.read_u8());
        assert!(reading.await.is_err(), "nothing comes through");
        net.heal();
        here.write_all(b"2").await.unwrap();
        assert_eq!(there.read_u8().await.unwrap(), b'2');
        net.split("b", "a");
        assert_eq!(there.read_u8().await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(net.connect("a", "b:1").unwrap_err().kind(), io::ErrorKind::HostUnreachable);
        net.heal();
        net.connect("a", "b:1").unwrap();
        net.crash("b");
        assert_eq!(net.connect("a", "b:1").unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
}
