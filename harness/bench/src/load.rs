use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

/// Connections of the load, each with a thread of its own.
const CONNECTIONS: u32 = 16;

/// Sends requests at a fixed rate over kept-alive connections; each is answered before the next of its connection. How many were answered.
pub(crate) fn fixed_rate(address: &str, marker: &str, rate: u32, seconds: u32) -> Result<u64> {
    let interval = Duration::from_secs(u64::from(CONNECTIONS)) / rate;
    let each = u64::from(rate) * u64::from(seconds) / u64::from(CONNECTIONS);
    let threads: Vec<_> = (0..CONNECTIONS)
        .map(|n| {
            let (address, marker) = (address.to_owned(), marker.to_owned());
            thread::spawn(move || connection(&address, &marker, n, each, interval))
        })
        .collect();
    let mut answered = 0;
    for thread in threads {
        answered += thread.join().ok().context("a connection's thread panicked")??;
    }
    Ok(answered)
}

fn connection(address: &str, marker: &str, number: u32, count: u64, interval: Duration) -> Result<u64> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let start = Instant::now() + interval * number / CONNECTIONS;
    let mut buffer = [0; 4096];
    for n in 0..count {
        let due = start + interval * u32::try_from(n)?;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let request = format!("GET /load?m={marker}-{number}-{n} HTTP/1.1\r\nHost: bench\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let read = stream.read(&mut buffer)?;
        ensure!(buffer[..read].starts_with(b"HTTP/1.1 200"), "the server answered {}", String::from_utf8_lossy(&buffer[..read]));
    }
    Ok(count)
}
