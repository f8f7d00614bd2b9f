use std::fmt::Write as _;
use std::future::Future;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing_subscriber::EnvFilter;

use crate::{Error, LogFormat, ServiceArgs};

/// Arguments that carry the shell's own.
pub trait Settings {
    /// The shell's part.
    fn service(&self) -> &ServiceArgs;
}

/// What a running service is handed: when to stop, and where its tasks are owned.
#[derive(Debug, Clone, Default)]
pub struct Shell {
    /// Cancelled when the service shall stop.
    pub stop: CancellationToken,
    /// Owns every task; the shell waits for them within the grace.
    pub tasks: TaskTracker,
}

/// Exit code of a service that left on a second signal: 128 + SIGINT, as shells count.
const EXIT_INTERRUPTED: u8 = 130;

/// Runs a service from logs to exit code.
pub async fn main<A, F, Fut, E>(args: A, run: F) -> ExitCode
where
    A: Settings,
    F: FnOnce(A, Shell) -> Fut,
    Fut: Future<Output = Result<(), E>>,
    E: std::error::Error + 'static,
{
    let own = args.service().clone();
    let (mut interrupt, mut terminate) = match init_logs(&own).and_then(|()| signals()) {
        Ok(signals) => signals,
        Err(error) => return report(&error),
    };
    let shell = Shell::default();
    let mut service = std::pin::pin!(run(args, shell.clone()));
    let result = tokio::select! {
        result = &mut service => result,
        () = either(&mut interrupt, &mut terminate) => {
            tracing::info!("stopping");
            shell.stop.cancel();
            tokio::select! {
                result = &mut service => result,
                () = either(&mut interrupt, &mut terminate) => return ExitCode::from(EXIT_INTERRUPTED),
            }
        }
    };
    shell.stop.cancel();
    let finished = finish(&shell.tasks, Duration::from_millis(own.shutdown_grace_ms)).await;
    match (result, finished) {
        (Err(error), _) => report(&error),
        (Ok(()), Err(error)) => report(&error),
        (Ok(()), Ok(())) => ExitCode::SUCCESS,
    }
}

async fn finish(tasks: &TaskTracker, grace: Duration) -> Result<(), Error> {
    tasks.close();
    timeout(grace, tasks.wait()).await.map_err(|_| Error::ShutdownOverran { count: tasks.len(), grace })
}

fn signals() -> Result<(Signal, Signal), Error> {
    let interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    let terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    Ok((interrupt, terminate))
}

async fn either(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}

fn init_logs(args: &ServiceArgs) -> Result<(), Error> {
    let filter = EnvFilter::try_new(&args.log).map_err(|source| Error::LogFilter { filter: args.log.clone(), source })?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second subscriber in one process (tests) is refused by tracing; the first one keeps on logging.
    let _already_set = match args.log_format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).try_init().is_err(),
        LogFormat::Json => lines.json().try_init().is_err(),
    };
    Ok(())
}

/// Says on stderr why the process leaves: the error and each of its causes on one line.
fn report(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    let mut line = format!("error: {error}");
    let mut cause = error.source();
    while let Some(next) = cause {
        // Writing to a String cannot fail.
        let _ = write!(line, ": {next}");
        cause = next.source();
    }
    // Nobody is left to tell if stderr is gone.
    let _ = writeln!(std::io::stderr(), "{line}");
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_does_not_end_is_reported_after_the_grace() {
        let tasks = TaskTracker::new();
        tasks.spawn(std::future::pending::<()>());
        let error = finish(&tasks, Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(error.to_string(), "1 tasks still ran 5s after the stop");
    }

    #[tokio::test]
    async fn tasks_that_listen_to_the_stop_end_within_the_grace() {
        let shell = Shell::default();
        let stop = shell.stop.clone();
        shell.tasks.spawn(async move { stop.cancelled().await });
        shell.stop.cancel();
        assert!(finish(&shell.tasks, Duration::from_secs(5)).await.is_ok());
    }
}
