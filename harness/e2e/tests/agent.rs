//! The agent itself: what it tells about processes, connections and its own losses, and how it starts and ends.
#![allow(clippy::print_stdout, reason = "says why it was skipped")]

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use e2e::{Expected, Runtime, Server, Side, Vizier, binary, compare, eventually, requests, send, skip_reason};
use serde_json::Value;

fn skipped() -> bool {
    skip_reason().inspect(|reason| println!("skipped: {reason}")).is_some()
}

fn python() -> Result<Command> {
    Runtime::Python.command()?.context("python3 is missing")
}

fn table(vizier: &Vizier, name: &str) -> Result<Vec<Value>> {
    vizier.rows(&format!("import px\npx.display(px.DataFrame('{name}'))\n"))
}

#[test]
fn the_end_of_a_process_is_a_row() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let vizier = Vizier::start(&[])?;
    let mut exits = Command::new("sh").args(["-c", "exit 3"]).spawn()?;
    let mut killed = Command::new("sh").args(["-c", "kill -KILL $$"]).spawn()?;
    let ids = (exits.id(), killed.id());
    exits.wait()?;
    killed.wait()?;
    let script = "import px\ndf = px.DataFrame('proc_exit_events')\ndf.pid = px.upid_to_pid(df.upid)\npx.display(df)\n";
    let both = eventually("two rows", || {
        let rows = vizier.rows(script)?;
        let of = |pid: u32| rows.iter().find(|row| row["pid"] == pid).cloned();
        Ok(of(ids.0).zip(of(ids.1)))
    })?;
    assert_eq!((&both.0["exit_code"], &both.0["signal"], &both.0["comm"]), (&3.into(), &0.into(), &"sh".into()));
    assert_eq!((&both.1["exit_code"], &both.1["signal"]), (&0.into(), &9.into()));
    Ok(())
}

#[test]
fn conn_stats_agree_between_client_and_server() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let vizier = Vizier::start(&["--conn-stats-period-ms", "200"])?;
    let server = Server::start(python()?, "127.0.0.1")?;
    let requests = requests("stats", 30);
    send(python()?, &server.url, 3, &requests)?;
    let port: u64 = server.url.rsplit(':').next().context("no port")?.parse()?;
    let script = "import px\ndf = px.DataFrame('conn_stats')\ndf.pid = px.upid_to_pid(df.upid)\npx.display(df)\n";
    let (client, server_row) = eventually("closed connections on both sides", || {
        let rows = vizier.rows(script)?;
        let last = |wanted: &dyn Fn(&&Value) -> bool| rows.iter().rfind(|row| wanted(row) && row["conn_close"] == 3).cloned();
        let client = last(&|row| row["remote_port"] == port && row["trace_role"] == 1);
        let on_server = last(&|row| row["pid"] == server.process.id() && row["trace_role"] == 2);
        Ok(client.zip(on_server))
    })?;
    assert_eq!(client["bytes_sent"], server_row["bytes_recv"]);
    assert_eq!(client["bytes_recv"], server_row["bytes_sent"]);
    let bodies: usize = requests.iter().map(|request| request.body_bytes).sum();
    assert!(client["bytes_sent"].as_u64() > Some(bodies as u64), "{client}");
    for row in [&client, &server_row] {
        assert_eq!(
            (&row["conn_open"], &row["conn_active"], &row["protocol"], &row["addr_family"]),
            (&3.into(), &0.into(), &1.into(), &1.into()),
            "{row}"
        );
    }
    assert_eq!(server_row["remote_port"], 0);
    Ok(())
}

#[test]
fn latency_is_the_servers_and_not_the_networks() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let vizier = Vizier::start(&[])?;
    let server = Server::start(python()?, "127.0.0.1")?;
    let mut slow = requests("slow", 1);
    slow[0].path = format!("{}&delay_ms=150", slow[0].path);
    send(python()?, &server.url, 1, &slow)?;
    for row in vizier.settled_rows("slow", 2)? {
        let latency = row["latency"].as_i64().context("no latency")?;
        assert!((150_000_000..5_000_000_000).contains(&latency), "{row}");
    }
    Ok(())
}

#[test]
fn a_ring_that_is_too_small_loses_rows_and_says_so() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let vizier = Vizier::start(&["--ring-bytes", "65536"])?;
    let Some(go) = Runtime::Go.command()? else { return Ok(()) };
    let Some(client) = Runtime::Go.command()? else { return Ok(()) };
    let server = Server::start(go, "127.0.0.1")?;
    send(client, &server.url, 32, &requests("overrun", 4_000))?;
    let row =
        eventually("a row that tells of the loss", || Ok(table(&vizier, "stirling_error")?.into_iter().find(|row| row["status"] == 11)))?;
    assert!(row["error"].as_str().is_some_and(|text| text.contains("lost")), "{row}");
    assert!(row["context"].as_str().and_then(|text| serde_json::from_str::<Value>(text).ok()).is_some(), "{row}");
    assert!(vizier.log().contains("lost"), "{}", vizier.log());
    Ok(())
}

#[test]
fn every_collector_and_hook_tells_its_state() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let vizier = Vizier::start(&[])?;
    let rows = eventually("states", || Ok(Some(table(&vizier, "stirling_error")?).filter(|rows| !rows.is_empty())))?;
    assert!(rows.iter().all(|row| row["status"] == 0), "{rows:#?}");
    let probes = table(&vizier, "probe_status")?;
    assert!(!probes.is_empty() && probes.iter().all(|row| row["status"] == 0), "{probes:#?}");
    Ok(())
}

#[test]
fn collectors_that_were_not_asked_for_say_that_they_are_off() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let vizier = Vizier::start(&["--capture", "off"])?;
    for name in ["stirling_error", "probe_status"] {
        let rows = eventually("states", || Ok(Some(table(&vizier, name)?).filter(|rows| rows.len() >= 3)))?;
        assert!(rows.iter().all(|row| row["status"] == 1), "{rows:#?}");
        assert!(rows.iter().all(|row| row["error"].as_str().is_some_and(|text| text.starts_with("off"))), "{rows:#?}");
    }
    Ok(())
}

#[test]
fn a_port_in_use_is_named_and_the_agent_ends() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let state = tempfile::tempdir()?;
    let output = Command::new(binary("vizier")?).args(["run", "--listen", &address, "--state-dir"]).arg(state.path()).output()?;
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr)?;
    assert!(text.contains(&address) && text.contains("in use"), "{text}");
    Ok(())
}

#[test]
fn without_privileges_it_serves_and_says_which_capability_is_missing() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    // A folder that nobody may enter: the binary is copied to where it may.
    let folder = tempfile::tempdir()?;
    let state = folder.path().join("state");
    std::fs::create_dir(&state)?;
    let program = folder.path().join("vizier");
    std::fs::copy(binary("vizier")?, &program)?;
    for path in [folder.path(), &state] {
        std::os::unix::fs::chown(path, Some(65534), Some(65534))?;
    }
    let ready = state.join("ready");
    let log = folder.path().join("log");
    let mut child = Command::new(&program)
        .args(["run", "--listen", "127.0.0.1:0", "--ready-file"])
        .arg(&ready)
        .arg("--state-dir")
        .arg(&state)
        .stderr(std::fs::File::create(&log)?)
        .stdin(Stdio::null())
        .uid(65534)
        .gid(65534)
        .spawn()?;
    let found = eventually("ready", || {
        ensure!(child.try_wait()?.is_none(), "ended: {}", std::fs::read_to_string(&log)?);
        Ok(std::fs::read_to_string(&ready).ok().filter(|text| !text.is_empty()))
    });
    child.kill()?;
    child.wait()?;
    found?;
    let text = std::fs::read_to_string(&log)?;
    assert!(text.contains("CAP_BPF"), "{text}");
    Ok(())
}

#[test]
fn it_ends_on_request_and_takes_its_ready_file_along() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let mut vizier = Vizier::start(&[])?;
    assert_eq!(vizier.stop()?, Some(0), "{}", vizier.log());
    assert!(!vizier.state_dir().with_file_name("ready").exists());
    Ok(())
}

/// The only child of a process: what `unshare --fork` runs.
fn child_of(pid: u32) -> Result<u32> {
    eventually("a child process", || {
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        Ok(children.split_whitespace().next().and_then(|pid| pid.parse().ok()))
    })
}

#[test]
fn a_process_in_a_nested_namespace_has_the_id_that_the_agent_sees() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let vizier = Vizier::start(&[])?;
    let mut inside = Command::new("unshare");
    let inner = python()?;
    inside.args(["--pid", "--fork", "--kill-child", "--mount-proc"]).arg(inner.get_program()).args(inner.get_args());
    let server = Server::start(inside, "127.0.0.1")?;
    let requests = requests("nested", 20);
    send(python()?, &server.url, 2, &requests)?;
    let rows = vizier.settled_rows("nested", 40)?;
    let sides = &[(Side::Client, 1), (Side::Server, 1)];
    let faults = compare(&Expected { requests: &requests, sides, contract_bodies: true }, &rows);
    assert!(faults.is_empty(), "{faults}");
    let child = child_of(server.process.id())?;
    assert!(rows.iter().filter(|row| row["trace_role"] == 2).all(|row| row["pid"] == child), "{child}: {rows:#?}");
    Ok(())
}

#[test]
fn an_agent_in_a_container_sees_what_is_inside_by_its_ids_and_nothing_else() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let wrapper = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--uts", "--ipc"];
    let vizier = Vizier::start_by(&wrapper, &[])?;
    let agent = child_of(vizier.id())?;
    // Outside: must not be seen.
    let outside = Server::start(python()?, "127.0.0.1")?;
    send(python()?, &outside.url, 1, &requests("outside", 8))?;
    // Inside: seen, by the ids of inside.
    let enter = |command: &Command| {
        let mut entered = Command::new("nsenter");
        entered.args(["--target", &agent.to_string(), "--pid", "--mount"]).arg(command.get_program()).args(command.get_args());
        entered
    };
    let inside = Server::start(enter(&python()?), "127.0.0.1")?;
    let sent = requests("inside", 20);
    send(enter(&python()?), &inside.url, 2, &sent)?;
    let rows = eventually("rows of inside", || Ok(Some(vizier.http_rows("inside")?).filter(|rows| rows.len() >= 40)))?;
    let sides = &[(Side::Client, 1), (Side::Server, 1)];
    let faults = compare(&Expected { requests: &sent, sides, contract_bodies: true }, &rows);
    assert!(faults.is_empty(), "{faults}");
    assert!(rows.iter().all(|row| row["pid"].as_u64().is_some_and(|pid| pid < 1_000)), "ids of inside are small: {rows:#?}");
    assert_eq!(vizier.http_rows("outside")?.len(), 0);
    Ok(())
}

#[test]
fn the_same_addresses_in_two_network_namespaces_are_two_connections() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let vizier = Vizier::start(&[])?;
    let program = python()?;
    let program: Vec<_> =
        std::iter::once(program.get_program()).chain(program.get_args()).map(|part| part.to_string_lossy().into_owned()).collect();
    let program = program.join(" ");
    // Client and server ports are chosen by the script, so that both namespaces use the same four-tuple at the same time.
    let script = format!(
        "ip link set lo up; {program} serve > $0 & server=$!; until grep -q listening $0; do :; done; \
         port=$(cut -d' ' -f2 $0); seq -f \"GET /200/10?m=netns-$1-%g 0\" 0 19 | {program} get http://127.0.0.1:$port 1; kill $server"
    );
    let folder = tempfile::tempdir()?;
    let mut children = Vec::new();
    for n in ["a", "b"] {
        let file = folder.path().join(n);
        std::fs::write(&file, "")?;
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", &script]).arg(&file).arg(n).stdout(Stdio::null());
        children.push(command.spawn()?);
    }
    for mut child in children {
        ensure!(child.wait()?.code().is_some(), "a namespace's script was killed");
    }
    let rows = vizier.settled_rows("netns", 80)?;
    for n in ["a", "b"] {
        for role in [1, 2] {
            let prefix = format!("m=netns-{n}-");
            let seen =
                rows.iter().filter(|row| row["trace_role"] == role && row["req_path"].as_str().is_some_and(|path| path.contains(&prefix)));
            assert_eq!(seen.count(), 20, "namespace {n}, role {role}");
        }
    }
    Ok(())
}
