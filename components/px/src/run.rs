//! `px run`.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use client::{Client, Event, Script};
use tokio::time::Instant;

use crate::args::{Args, Format, RunArgs};
use crate::output::Output;
use crate::session::Target;
use crate::source::{ScriptArgs, Source, script_args};
use crate::{Error, Terminal, picture};

/// How long a script may wait for its tracepoints: an agent needs seconds to attach them, and its tables to be known.
const CHANGES_MAX: Duration = Duration::from_mins(1);
/// Asking again is harmless: it refreshes their time to live.
const CHANGES_LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Script of the library that lists agents.
const AGENTS_SCRIPT: &str = "px/agent_status";

pub(crate) async fn run(args: &Args, run: &RunArgs, terminal: &mut Terminal) -> Result<ExitCode, Error> {
    if run.dir.is_some() && run.output != Format::Arrow {
        return Err(Error::FolderWithoutArrow);
    }
    if run.output == Format::Arrow && run.dir.is_none() && terminal.stdout_terminal {
        return Err(Error::BinaryOnTerminal);
    }
    let source = Source::of_run(run, &mut *terminal.stdin)?;
    let given = match script_args(&run.script_args)? {
        ScriptArgs::Help => {
            terminal.stdout.write_all(source.help().as_bytes()).map_err(Error::output)?;
            return Ok(ExitCode::SUCCESS);
        }
        ScriptArgs::Given(given) => given,
    };
    let script = Script {
        text: source.text.clone(),
        funcs: source.calls(&given)?,
        name: source.name.clone(),
        mutation: Script::changes(&source.text),
        ..Script::default()
    };
    let printed = tokio::select! {
        result = execute(args, script, run, terminal) => result,
        _ = tokio::signal::ctrl_c() => Err(Error::Cancelled),
    };
    match printed {
        Err(Error::Client(client::Error::Script(problems)) | Error::Cloud { source: client::Error::Script(problems), .. }) => {
            // Nobody is left to tell if stderr is gone; the exit code says it as well.
            let _ = terminal.stderr.write_all(picture::problems(&source.text, &problems).as_bytes());
            Ok(ExitCode::FAILURE)
        }
        other => other.map(|()| ExitCode::SUCCESS),
    }
}

/// `px get pems`: a script of the library tells it.
pub(crate) async fn agents(args: &Args, output: Format, cluster: Option<String>, terminal: &mut Terminal) -> Result<ExitCode, Error> {
    let name = Some(AGENTS_SCRIPT.to_owned());
    let asked = RunArgs { name, file: None, output, table: None, dir: None, cluster, script_args: Vec::new() };
    run(args, &asked, terminal).await
}

async fn execute(args: &Args, script: Script, run: &RunArgs, terminal: &mut Terminal) -> Result<(), Error> {
    let target = Target::choose(args, run.cluster.as_deref()).await?;
    let script = Script { cluster: target.cluster(), ..script };
    let mut client = Client::connect(&target.address, &target.access).await.map_err(|source| target.failed(source))?;
    let mut results = client.execute(script.clone()).await.map_err(|source| target.failed(source))?;
    let mut next = results.next().await;
    let deadline = Instant::now() + CHANGES_MAX;
    while let (Err(client::Error::Pending { message }), true) = (&next, Instant::now() < deadline) {
        // Nobody is left to tell if stderr is gone.
        let _ = writeln!(terminal.stderr, "{message}");
        tokio::time::sleep(CHANGES_LOOK_AGAIN).await;
        results = client.execute(script.clone()).await.map_err(|source| target.failed(source))?;
        next = results.next().await;
    }
    let mut output = Output::new(run, &mut *terminal.stdout, terminal.stdout_colour);
    while let Some(event) = next.map_err(|source| target.failed(source))? {
        match event {
            Event::Table(table) => output.table(table),
            Event::Rows { table, batch } => output.rows(table, &batch)?,
            Event::End { table } => output.end(table)?,
            Event::Cost(_) => {}
        }
        next = results.next().await;
    }
    output.finish()
}
