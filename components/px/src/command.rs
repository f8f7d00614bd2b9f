use std::error::Error as _;
use std::io::{self, IsTerminal as _, Read, Write};
use std::process::ExitCode;

use tonic::Code;

use crate::args::{Args, AuthCommand, Command, GetCommand, ScriptCommand};
use crate::{Error, check, debug, keys, library, login, run as run_command, viziers};

/// Exit code after Ctrl-C: 128 + SIGINT, as shells count.
const EXIT_CANCELLED: u8 = 130;

/// Where a command reads and writes.
pub struct Terminal {
    /// Standard input.
    pub stdin: Box<dyn Read>,
    /// Rows and texts that were asked for.
    pub stdout: Box<dyn Write>,
    /// What went wrong.
    pub stderr: Box<dyn Write>,
    /// Standard output is a terminal.
    pub stdout_terminal: bool,
    /// Colours on standard output.
    pub stdout_colour: bool,
    /// Colours on standard error.
    pub stderr_colour: bool,
}

impl Terminal {
    /// The process's own. Colours only on a terminal, and not with `NO_COLOR`.
    pub fn of_process() -> Terminal {
        let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let stdout_terminal = io::stdout().is_terminal();
        Terminal {
            stdin: Box::new(io::stdin()),
            stdout: Box::new(io::BufWriter::new(io::stdout())),
            stderr: Box::new(io::stderr()),
            stdout_terminal,
            stdout_colour: colour && stdout_terminal,
            stderr_colour: colour && io::stderr().is_terminal(),
        }
    }
}

/// Does what the arguments say. Exit code 0 if all went well, 1 if not, 130 after Ctrl-C.
pub async fn run(args: Args, mut terminal: Terminal) -> ExitCode {
    let result = dispatch(args, &mut terminal).await;
    // Whatever was printed before the failure belongs to the output.
    let flushed = terminal.stdout.flush().map_err(Error::output);
    match result.and_then(|code| flushed.map(|()| code)) {
        Ok(code) => code,
        // A reader such as `head` has what it wanted.
        Err(Error::OutputClosed) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell if stderr is gone.
            let _ = report(&mut terminal.stderr, &error);
            if matches!(error, Error::Cancelled) { ExitCode::from(EXIT_CANCELLED) } else { ExitCode::FAILURE }
        }
    }
}

async fn dispatch(args: Args, terminal: &mut Terminal) -> Result<ExitCode, Error> {
    match &args.command {
        Command::Run(run) => run_command::run(&args, run, terminal).await,
        Command::Check(check) => check::run(check, terminal),
        Command::Script(ScriptCommand::List { output }) => library::list(*output, terminal),
        Command::Script(ScriptCommand::Show { name }) => library::show(name, terminal),
        Command::Auth(AuthCommand::Login) => login::login(&args, terminal).await,
        Command::Auth(AuthCommand::Logout) => login::logout(&args, terminal),
        Command::Get(GetCommand::Viziers { output }) => viziers::list(&args, *output, terminal).await,
        Command::Get(GetCommand::Pems { output, cluster }) => run_command::agents(&args, *output, cluster.clone(), terminal).await,
        Command::Update(update) => viziers::update(&args, update, terminal).await,
        Command::DeployKey(command) => keys::run(&args, client::KeyKind::Deploy, command, terminal).await,
        Command::ApiKey(command) => keys::run(&args, client::KeyKind::Api, command, terminal).await,
        Command::Debug(command) => debug::run(&args, command, terminal).await,
        Command::Version => {
            writeln!(terminal.stdout, "px {}", env!("CARGO_PKG_VERSION")).map_err(Error::output)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn report(to: &mut dyn Write, error: &Error) -> io::Result<()> {
    if let Error::Cancelled = error {
        return writeln!(to, "{error}");
    }
    write!(to, "error: {error}")?;
    let mut cause = error.source();
    let mut last = error.to_string();
    while let Some(next) = cause {
        let text = next.to_string();
        if text != last {
            write!(to, ": {text}")?;
        }
        last = text;
        cause = next.source();
    }
    writeln!(to)?;
    match hint(error) {
        Some(hint) => writeln!(to, "{hint}"),
        None => Ok(()),
    }
}

/// What to do about it.
fn hint(error: &Error) -> Option<&'static str> {
    if let Error::Cloud { source: client::Error::Connect { .. }, .. } = error {
        return Some("Is a control plane running there? --cloud-addr or PX_CLOUD_ADDR says where another one is.");
    }
    if let Error::Cloud { source: client::Error::Call(status), .. } = error {
        if status.code() == Code::Unauthenticated {
            return Some("Give an API key with --api-key or PX_API_KEY, or log in again with `px auth login`.");
        }
        if status.code() == Code::Unimplemented {
            return Some("What answers there is no control plane.");
        }
    }
    if let Error::Client(client::Error::Connect { .. }) = error {
        return Some(
            "Is a Vizier running there? `vizier run` (as root) starts one on this machine; \
             --addr or PX_VIZIER_ADDR says where another one is.",
        );
    }
    if let Error::Client(client::Error::NoAuthority { .. }) | Error::Cloud { source: client::Error::NoAuthority { .. }, .. } = error {
        return Some("Give its certificate with --tls-ca: it is `ca.crt` in the state directory of that server.");
    }
    let (Error::Client(client::Error::Call(status)) | Error::Cloud { source: client::Error::Call(status), .. }) = error else {
        return None;
    };
    if status.message().contains("h2 protocol error") {
        return Some("What answers there is no gRPC server, or speaks TLS: then give its certificate with --tls-ca.");
    }
    if status.code() == Code::Unauthenticated {
        return Some("That Vizier asks for a key: give it with --direct-vizier-key or PX_DIRECT_VIZIER_KEY.");
    }
    None
}
