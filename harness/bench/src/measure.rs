use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::{Vizier, eventually, nginx};
use harness_bench::usage::{self, ProgramStats};

use crate::load;

const MB: f64 = 1e6;

/// Counts the rows of the load.
const COUNT: &str = "#px:set max_output_rows_per_table=10\nimport px\ndf = px.DataFrame('http_events')\ndf = df[px.contains(df.req_path, 'm=load-')]\npx.display(df.agg(n=('time_', px.count)))\n";

fn median(mut values: Vec<Duration>) -> Duration {
    values.sort();
    values[values.len() / 2]
}

fn line(measure: &str, goal: &str, seen: &str, how: &str) {
    println!("| {measure} | {goal} | {seen} | {how} |");
}

/// From the start of the process to the first row that a script returns, while a client sends a request every 5 ms.
pub(crate) fn start_to_first_row(rounds: u32) -> Result<()> {
    let server = nginx("location / { return 200 \"hello\"; }")?;
    let address = server.url.trim_start_matches("http://").to_owned();
    let mut seen = Vec::new();
    for round in 0..rounds {
        let marker = format!("first{round}");
        let load = {
            let (address, marker) = (address.clone(), marker.clone());
            std::thread::spawn(move || load::fixed_rate(&address, &marker, 200, 5))
        };
        let start = Instant::now();
        let vizier = Vizier::start(&[])?;
        eventually("the first row", || Ok(Some(()).filter(|()| vizier.http_rows(&marker).is_ok_and(|rows| !rows.is_empty()))))?;
        seen.push(start.elapsed());
        drop(vizier);
        load.join().ok().context("the load panicked")??;
    }
    line(
        "process start to first row returned",
        "≤ 1 s",
        &format!("{:.0} ms", median(seen).as_secs_f64() * 1e3),
        "200 requests/s meanwhile; `px` polled, its own start included",
    );
    Ok(())
}

/// From the end of a request to the answer of a script that shows it; `px`'s own start and the poll included.
pub(crate) fn event_to_queryable(rounds: u32) -> Result<()> {
    let server = nginx("location / { return 200 \"hello\"; }")?;
    let vizier = Vizier::start(&[])?;
    let mut seen = Vec::new();
    for round in 0..rounds * 4 {
        let marker = format!("queryable{round}");
        let url = format!("{}/x?m={marker}-0", server.url);
        ensure!(Command::new("curl").args(["-sS", "-o", "/dev/null", &url]).status()?.success(), "curl failed");
        let start = Instant::now();
        eventually("the row", || Ok(Some(()).filter(|()| vizier.http_rows(&marker).is_ok_and(|rows| rows.len() >= 2))))?;
        seen.push(start.elapsed());
    }
    line(
        "event to queryable",
        "≤ 250 ms",
        &format!("{:.0} ms", median(seen).as_secs_f64() * 1e3),
        "request's end to `px`'s answer, `px`'s own start included",
    );
    Ok(())
}

/// CPU and losses while nginx answers a fixed rate.
pub(crate) fn under_load(rate: u32, seconds: u32) -> Result<()> {
    let server = nginx("location / { return 200 \"hello\"; }")?;
    let address = server.url.trim_start_matches("http://").to_owned();
    let vizier = Vizier::start(&[])?;
    let stats = ProgramStats::enable()?;
    load::fixed_rate(&address, "warm", 1_000, 2)?;
    let (runs_before, in_kernel_before) = stats.read(vizier.id())?;
    let cpu_before = usage::cpu(vizier.id())?;
    let answered = load::fixed_rate(&address, "load", rate, seconds)?;
    let cpu = usage::cpu(vizier.id())?.saturating_sub(cpu_before);
    let (runs, in_kernel) = stats.read(vizier.id())?;
    let per_request = |time: Duration| time.as_secs_f64() * 1e6 / answered as f64;
    let in_programs = in_kernel.saturating_sub(in_kernel_before);
    line(
        &format!("agent CPU per request at {rate} req/s"),
        "≤ 5 µs",
        &format!(
            "{:.1} µs ({:.1} user space, {:.1} programs)",
            per_request(cpu) + per_request(in_programs),
            per_request(cpu),
            per_request(in_programs)
        ),
        &format!(
            "{answered} requests, client and server both traced: two rows a request; program time by the kernel's statistics, {:.0} ns a run",
            in_programs.as_nanos() as f64 / (runs - runs_before).max(1) as f64
        ),
    );
    let rows = eventually("all rows", || {
        let rows = vizier.rows(COUNT)?.first().and_then(|row| row["n"].as_u64()).unwrap_or(0);
        Ok(Some(rows).filter(|rows| *rows >= 2 * answered))
    });
    let lost = match rows {
        Ok(_) => 0,
        Err(_) => 2 * answered - vizier.rows(COUNT)?.first().and_then(|row| row["n"].as_u64()).unwrap_or(0),
    };
    line("rows lost at that rate", "0", &lost.to_string(), &format!("of {}", 2 * answered));
    Ok(())
}

/// Resident memory: right after the start, and once tables of a small budget have been filled and turned over by a load.
pub(crate) fn memory(rate: u32, seconds: u32) -> Result<()> {
    const BUDGET: u64 = 32 << 20;
    /// Of http_events, as `vizier run` has it by default.
    const SHARE: u64 = BUDGET * 40 / 100;
    let server = nginx("location / { return 200 \"hello\"; }")?;
    let address = server.url.trim_start_matches("http://").to_owned();
    let vizier = Vizier::start(&["--table-store-bytes-max", &BUDGET.to_string()])?;
    let idle = usage::memory(vizier.id())?;
    let answered = load::fixed_rate(&address, "load", rate, seconds)?;
    let after = usage::memory(vizier.id())?;
    let kept = vizier.rows(COUNT)?.first().and_then(|row| row["n"].as_u64()).unwrap_or(0);
    ensure!(kept < 2 * answered * 3 / 4, "the load did not fill http_events and turn it over: raise --rate or --seconds");
    let beyond = |bytes: u64| bytes.saturating_sub(SHARE);
    let mb = |bytes: u64| format!("{:.0} MB", bytes as f64 / MB);
    line(
        "RSS after the start",
        "≤ 80 MB",
        &format!("{}, {} of it anonymous", mb(idle.resident), mb(idle.anonymous)),
        "VmRSS, RssAnon; the rest are pages of the program's file",
    );
    line(
        "RSS beyond full tables, under load",
        "≤ 80 MB",
        &format!("{}, peak {}, {} of it anonymous", mb(beyond(after.resident)), mb(beyond(after.peak)), mb(beyond(after.anonymous))),
        &format!("{answered} requests at {rate}/s; less the {} of http_events, which held the last {kept} rows", mb(SHARE)),
    );
    Ok(())
}
