use std::io::Write;

use service::Shell;

use crate::args::{Args, Command};
use crate::{Error, command, serve};

/// Does what the arguments say.
///
/// # Errors
/// See [`Error`].
pub async fn run(args: Args, shell: Shell) -> Result<(), Error> {
    let text = match args.command {
        Command::Serve(args) => return serve::run(*args, shell).await,
        Command::Key(command) => command::key(command).await?,
        Command::Org(command) => command::org(command).await?,
        Command::Cluster(command) => command::cluster(command).await?,
        Command::Script(command) => command::script(command).await?,
    };
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(Error::Output)
}
