//! `px run`.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use client::{Address, Client, Event, Script};

use crate::args::{Args, Format, RunArgs};
use crate::output::Output;
use crate::source::{ScriptArgs, Source, script_args};
use crate::{Error, Terminal, picture};

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
    let script = Script { text: source.text.clone(), funcs: source.calls(&given)?, name: source.name.clone() };
    let address: Address = args.addr.parse()?;
    let ca = args.tls_ca.as_deref().map(read).transpose()?;
    let printed = tokio::select! {
        result = execute(&address, ca.as_deref(), script, run, terminal) => result,
        _ = tokio::signal::ctrl_c() => Err(Error::Cancelled),
    };
    match printed {
        Err(Error::Client(client::Error::Script(problems))) => {
            // Nobody is left to tell if stderr is gone; the exit code says it as well.
            let _ = terminal.stderr.write_all(picture::problems(&source.text, &problems).as_bytes());
            Ok(ExitCode::FAILURE)
        }
        other => other.map(|()| ExitCode::SUCCESS),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::File { action: "read", path: path.to_owned(), source })
}

async fn execute(address: &Address, ca: Option<&[u8]>, script: Script, run: &RunArgs, terminal: &mut Terminal) -> Result<(), Error> {
    let mut client = Client::connect(address, ca).await?;
    let mut results = client.execute(script).await?;
    let mut output = Output::new(run, &mut *terminal.stdout, terminal.stdout_colour);
    while let Some(event) = results.next().await? {
        match event {
            Event::Table(table) => output.table(table),
            Event::Rows { table, batch } => output.rows(table, &batch)?,
            Event::End { table } => output.end(table)?,
            Event::Cost(_) => {}
        }
    }
    output.finish()
}
