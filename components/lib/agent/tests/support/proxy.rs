//! Between an agent and Kelvin: passes bytes on, until a test wants a cut or a frozen network.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Passes,
    /// Connections stay, and nothing comes through.
    Frozen,
    /// Connections are closed, and so are new ones.
    Cut,
}

#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
}

impl Proxy {
    pub async fn start(target: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mode, modes) = watch::channel(Mode::Passes);
        tokio::spawn(async move {
            let mut gone = modes.clone();
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    // The test is over.
                    _ = gone.wait_for(|_| false) => return,
                };
                let Ok((near, _)) = accepted else { return };
                if *modes.borrow() == Mode::Cut {
                    continue;
                }
                let Ok(far) = TcpStream::connect(target).await else { continue };
                near.set_nodelay(true).unwrap();
                far.set_nodelay(true).unwrap();
                let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
                tokio::spawn(copy(near_read, far_write, modes.clone()));
                tokio::spawn(copy(far_read, near_write, modes.clone()));
            }
        });
        Proxy { address, mode }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn freeze(&self) {
        self.mode.send_replace(Mode::Frozen);
    }

    pub fn cut(&self) {
        self.mode.send_replace(Mode::Cut);
    }

    pub fn pass(&self) {
        self.mode.send_replace(Mode::Passes);
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut modes: watch::Receiver<Mode>) {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let mode = *modes.borrow_and_update();
        match mode {
            Mode::Cut => return,
            Mode::Frozen => {
                if modes.changed().await.is_err() {
                    return;
                }
            }
            Mode::Passes => {
                let read = tokio::select! {
                    changed = modes.changed() => if changed.is_err() { return } else { continue },
                    read = from.read(&mut bytes) => read,
                };
                let Ok(length @ 1..) = read else { return };
                let written = tokio::select! {
                    _ = modes.wait_for(|mode| *mode == Mode::Cut) => return,
                    written = to.write_all(&bytes[..length]) => written,
                };
                if written.is_err() {
                    return;
                }
            }
        }
    }
}
