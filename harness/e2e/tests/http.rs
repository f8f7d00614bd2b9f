//! HTTP of other people's programs: every request is a row on the client's side and one on the server's, none missing, none twice.
#![allow(clippy::print_stdout, reason = "says why it was skipped")]

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result};
use e2e::{Expected, Process, Runtime, Server, Side, Vizier, compare, nginx, requests, send, skip_reason};

const BOTH_SIDES: &[(Side, usize)] = &[(Side::Client, 1), (Side::Server, 1)];

/// Runs of [`check`] so far: what makes its markers unique.
static RUNS: AtomicU32 = AtomicU32::new(0);

fn skipped() -> bool {
    skip_reason().inspect(|reason| println!("skipped: {reason}")).is_some()
}

fn command(runtime: Runtime) -> Result<Option<Command>> {
    let command = runtime.command()?;
    if command.is_none() {
        assert!(std::env::var_os("CI").is_none() || runtime == Runtime::Java, "{runtime:?} is missing");
        println!("skipped: {runtime:?} is missing");
    }
    Ok(command)
}

/// Sends `count` requests over so many connections and compares the rows of both sides with what the client says it got.
fn check(vizier: &Vizier, server: Runtime, client: Runtime, address: &str, connections: usize, count: usize) -> Result<()> {
    let (Some(server_command), Some(client_command)) = (command(server)?, command(client)?) else { return Ok(()) };
    // Tests run side by side, and each agent sees the traffic of all.
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    let marker = format!("{server:?}{client:?}{connections}x{}r{run}", address.replace([':', '.'], ""));
    let running = Server::start(server_command, address)?;
    let requests = requests(&marker, count);
    let got = send(client_command, &running.url, connections, &requests)?;
    assert_eq!(got.len(), count, "{marker}: the client got {} answers", got.len());
    let rows = vizier.settled_rows(&marker, 2 * count)?;
    let faults = compare(&Expected { requests: &requests, sides: BOTH_SIDES, contract_bodies: true }, &rows);
    assert!(faults.is_empty(), "{marker}:\n{faults}");
    let of_server = rows.iter().filter(|row| row["trace_role"] == 2);
    for row in of_server {
        assert_eq!(row["pid"], running.process.id(), "{marker}: the row's process is not the server's");
        assert_eq!(row["local_addr"], address, "{marker}");
    }
    Ok(())
}

#[test]
fn every_runtime_is_captured_as_client_and_as_server() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let vizier = Vizier::start(&[])?;
    for server in Runtime::ALL {
        for client in Runtime::ALL {
            check(&vizier, server, client, "127.0.0.1", 3, 40)?;
        }
    }
    Ok(())
}

#[test]
fn the_exit_of_system_calls_tells_the_same_as_the_socket_layer() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let vizier = Vizier::start(&["--capture", "syscall-exit"])?;
    for runtime in Runtime::ALL {
        check(&vizier, runtime, runtime, "127.0.0.1", 3, 40)?;
    }
    Ok(())
}

#[test]
fn one_connection_and_sixty_four_lose_nothing() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let vizier = Vizier::start(&[])?;
    for connections in [1, 8, 64] {
        check(&vizier, Runtime::Go, Runtime::Go, "127.0.0.1", connections, 1_000)?;
    }
    Ok(())
}

#[test]
fn ipv6_is_captured() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let vizier = Vizier::start(&[])?;
    check(&vizier, Runtime::Python, Runtime::Go, "::1", 2, 40)?;
    check(&vizier, Runtime::Go, Runtime::Node, "::1", 2, 40)
}

/// Sends each request with a curl of its own: processes that live for a few milliseconds.
fn curl_each(url: &str, requests: &[e2e::Request]) -> Result<()> {
    for request in requests {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-o", "/dev/null", "-X", request.method]).arg(format!("{url}{}", request.path));
        if request.method == "HEAD" {
            curl.arg("--head");
        }
        if request.body_bytes > 0 {
            curl.args(["-H", "Content-Type: text/plain", "--data-binary", &"b".repeat(request.body_bytes)]);
        }
        anyhow::ensure!(curl.status().context("curl")?.success(), "curl failed on {}", request.path);
    }
    Ok(())
}

#[test]
fn clients_that_live_for_milliseconds_are_captured_whole() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let vizier = Vizier::start(&[])?;
    let server = nginx("location / { return 200 \"hello\"; }")?;
    let mut requests = requests("curl", 60);
    for request in &mut requests {
        request.status = 200;
    }
    curl_each(&server.url, &requests)?;
    let rows = vizier.settled_rows("curl", 120)?;
    let faults = compare(&Expected { requests: &requests, sides: BOTH_SIDES, contract_bodies: false }, &rows);
    assert!(faults.is_empty(), "{faults}");
    let bodies = rows.iter().filter(|row| row["req_method"] != "HEAD" && row["resp_body"] == "hello").count();
    assert_eq!(bodies, rows.iter().filter(|row| row["req_method"] != "HEAD").count());
    Ok(())
}

/// What a person tries first. Its answers come in several small writes, with HTTP/1.0, and end with the connection.
#[test]
fn pythons_own_file_server_and_curl_are_captured() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let vizier = Vizier::start(&[])?;
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("file"), "from a file")?;
    let mut python = Command::new("python3");
    python.args(["-u", "-m", "http.server", "--bind", "127.0.0.1", "--directory"]).arg(folder.path()).arg("0");
    let mut python = Process::start("http.server", python.stderr(Stdio::null()))?;
    let line = python.line()?;
    let port: u16 = line.split(' ').skip_while(|word| *word != "port").nth(1).with_context(|| line.clone())?.parse()?;
    let kinds = [("GET", "/file", 200), ("HEAD", "/file", 200), ("GET", "/missing", 404), ("GET", "/", 200)];
    let requests = kinds.iter().cycle().take(24).enumerate();
    let requests: Vec<_> = requests
        .map(|(n, (method, path, status))| e2e::Request {
            method,
            path: format!("{path}?m=fileserver-{n}"),
            body_bytes: 0,
            status: *status,
            size: 0,
        })
        .collect();
    curl_each(&format!("http://127.0.0.1:{port}"), &requests)?;
    let rows = vizier.settled_rows("fileserver", 48)?;
    let faults = compare(&Expected { requests: &requests, sides: BOTH_SIDES, contract_bodies: false }, &rows);
    assert!(faults.is_empty(), "{faults}");
    for row in
        rows.iter().filter(|row| row["req_method"] == "GET" && row["req_path"].as_str().is_some_and(|path| path.starts_with("/file")))
    {
        assert_eq!(row["resp_body_size"], 11, "{row}");
    }
    Ok(())
}

#[test]
fn a_reverse_proxy_has_rows_on_both_of_its_sides() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let vizier = Vizier::start(&[])?;
    let Some(upstream) = command(Runtime::Go)? else { return Ok(()) };
    let upstream = Server::start(upstream, "127.0.0.1")?;
    let proxy = nginx(&format!("location / {{ proxy_pass {}; proxy_http_version 1.1; proxy_set_header Connection \"\"; }}", upstream.url))?;
    let Some(client) = command(Runtime::Python)? else { return Ok(()) };
    let requests = requests("proxy", 80);
    let got = send(client, &proxy.url, 4, &requests)?;
    assert_eq!(got.len(), requests.len());
    let rows = vizier.settled_rows("proxy", 320)?;
    let sides = &[(Side::Client, 2), (Side::Server, 2)];
    let faults = compare(&Expected { requests: &requests, sides, contract_bodies: true }, &rows);
    assert!(faults.is_empty(), "{faults}");
    Ok(())
}

#[test]
fn a_file_sent_by_sendfile_keeps_the_framing_around_it() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let vizier = Vizier::start(&[])?;
    let server = nginx("sendfile on; location / { try_files /file =404; }")?;
    let script = format!("for i in 1 2 3 4 5; do echo url = {}/x?m=sendfile-$i; echo output = /dev/null; done | curl -sS -K -", server.url);
    anyhow::ensure!(Command::new("sh").args(["-c", &script]).status()?.success(), "curl failed");
    let rows = vizier.settled_rows("sendfile", 10)?;
    assert_eq!(rows.len(), 10);
    for row in &rows {
        assert_eq!((&row["resp_status"], &row["resp_body_size"]), (&200.into(), &300_000.into()), "{row}");
    }
    Ok(())
}

/// Of a call, 30 KiB are copied. A length says where such a body ends all the same; chunks that were not copied do not: then the size is that
/// of what was seen, and what follows is captured as ever.
#[test]
fn a_body_beyond_the_budget_of_a_call_costs_no_row() -> Result<()> {
    const SIZE: u64 = 100_000;
    const BUDGET: u64 = 30 * 1024;
    if skipped() {
        return Ok(());
    }
    let vizier = Vizier::start(&[])?;
    for (server, chunked) in [(Runtime::Python, false), (Runtime::Go, true)] {
        let (Some(server_command), Some(client)) = (command(server)?, command(Runtime::Node)?) else { return Ok(()) };
        let running = Server::start(server_command, "127.0.0.1")?;
        let marker = format!("large{server:?}");
        let mut requests = requests(&marker, 40);
        for request in requests.iter_mut().filter(|request| request.size == 25_000) {
            request.path = format!("/200/{SIZE}?m={}", request.path.split_once("m=").map_or("", |(_, marker)| marker));
        }
        send(client, &running.url, 2, &requests)?;
        let rows = vizier.settled_rows(&marker, 80)?;
        assert_eq!(rows.len(), 80, "{marker}");
        for row in rows.iter().filter(|row| row["req_path"].as_str().is_some_and(|path| path.contains("/100000?"))) {
            let size = row["resp_body_size"].as_u64().context("no size")?;
            assert!(if chunked { (BUDGET - 1_000..=SIZE).contains(&size) } else { size == SIZE }, "{row}");
        }
    }
    Ok(())
}

#[test]
fn a_connection_older_than_the_agent_is_captured_from_its_next_request_on() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let server = nginx("location / { return 200 \"hello\"; }")?;
    let address = server.url.trim_start_matches("http://").to_owned();
    let mut connections: Vec<_> = (0..4).map(|_| std::net::TcpStream::connect(&address)).collect::<Result<_, _>>()?;
    let exchange = |stream: &mut std::net::TcpStream, path: &str| -> Result<()> {
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"hello") {
            let mut buffer = [0; 4096];
            let n = stream.read(&mut buffer)?;
            anyhow::ensure!(n > 0, "nginx closed");
            answer.extend_from_slice(&buffer[..n]);
        }
        Ok(())
    };
    for stream in &mut connections {
        exchange(stream, "/before")?;
    }
    let vizier = Vizier::start(&[])?;
    for (n, stream) in connections.iter_mut().enumerate() {
        for k in 0..5 {
            exchange(stream, &format!("/after?m=old-{n}-{k}"))?;
        }
    }
    let rows = vizier.settled_rows("old", 40)?;
    assert_eq!(rows.iter().filter(|row| row["trace_role"] == 2).count(), 20, "{rows:#?}");
    assert_eq!(rows.iter().filter(|row| row["trace_role"] == 1).count(), 20, "{rows:#?}");
    Ok(())
}
