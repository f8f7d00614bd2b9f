//! `px check`.

use std::io::Write as _;
use std::process::ExitCode;

use funcs::Environment;

use crate::args::CheckArgs;
use crate::source::Source;
use crate::{Error, Terminal};

pub(crate) fn run(args: &CheckArgs, terminal: &mut Terminal) -> Result<ExitCode, Error> {
    let source = Source::file(&args.file, &mut *terminal.stdin)?;
    match pxl::check(&source.text, &funcs::registry(&Environment::default())) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(problems) => {
            let picture = if terminal.stderr_colour { problems.render_coloured(&source.name) } else { problems.render(&source.name) };
            // Nobody is left to tell if stderr is gone; the exit code says it as well.
            let _ = terminal.stderr.write_all(picture.as_bytes());
            Ok(ExitCode::FAILURE)
        }
    }
}
