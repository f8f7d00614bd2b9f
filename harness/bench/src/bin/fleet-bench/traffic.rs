//! Requests on a node, for its agent to see.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use fleet::Fleet;

/// Where they go, on the node's own loopback.
const ADDRESS: &str = "127.0.0.1:8000";
/// Between two requests.
const PAUSE: Duration = Duration::from_millis(20);
/// Then it is over, whoever still waits.
const REQUESTS_MAX: u32 = 10_000;
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n";

/// A server and its client on a node. They end with it.
pub(crate) struct Traffic(Child);

impl Traffic {
    /// Requests come when this returns.
    pub(crate) fn start(fleet: &Fleet, pem: &str, marker: &str) -> Result<Traffic> {
        let program = std::env::current_exe()?.into_os_string().into_string().ok().context("this program's path is no text")?;
        let words = [&program, "--traffic", ADDRESS, "--marker", marker].map(str::to_owned);
        let mut child = fleet.command(pem, &words)?.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("starting requests")?;
        let lines = child.stdout.take().context("no output")?;
        let mut traffic = Traffic(child);
        let mut line = String::new();
        BufReader::new(lines).read_line(&mut line)?;
        ensure!(line.trim() == "ready", "requests on {pem} do not start: {:?}", traffic.0.try_wait());
        Ok(traffic)
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        if let Err(error) = self.0.wait() {
            eprintln!("fleet-bench: requests on a node do not end: {error}");
        }
    }
}

/// In the child: serves and asks until nobody holds standard input any more.
pub(crate) fn run(address: SocketAddr, marker: &str) -> Result<()> {
    let listener = TcpListener::bind(address).with_context(|| format!("listening at {address}"))?;
    thread::spawn(move || listener.incoming().flatten().for_each(|stream| drop(serve(&stream))));
    let marker = marker.to_owned();
    thread::spawn(move || {
        for number in 0..REQUESTS_MAX {
            // Nothing is lost with one: there are others.
            let _failed = request(address, &format!("{marker}-{number}"));
            thread::sleep(PAUSE);
        }
    });
    println!("ready");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn serve(mut stream: &TcpStream) -> Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    stream.write_all(ANSWER)?;
    Ok(())
}

fn request(address: SocketAddr, marker: &str) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET /?m={marker} HTTP/1.1\r\nHost: bench\r\nAccept: */*\r\n\r\n")?;
    stream.read_to_end(&mut Vec::new())?;
    Ok(())
}
