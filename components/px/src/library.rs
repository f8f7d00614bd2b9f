//! `px script`.

use std::io::Write as _;
use std::process::ExitCode;

use serde_json::json;

use crate::args::ListFormat;
use crate::source::Source;
use crate::table_output::columns;
use crate::{Error, Terminal};

pub(crate) fn list(format: ListFormat, terminal: &mut Terminal) -> Result<ExitCode, Error> {
    match format {
        ListFormat::Table => {
            let header = vec!["NAME".to_owned(), "DESCRIPTION".to_owned()];
            let rows = scripts::list().iter().map(|script| vec![script.name.clone(), script.short.clone()]);
            let text = columns(&std::iter::once(header).chain(rows).collect::<Vec<_>>());
            terminal.stdout.write_all(text.as_bytes()).map_err(Error::output)?;
        }
        ListFormat::Json => {
            for script in scripts::list() {
                let object = json!({ "name": script.name, "description": script.short });
                writeln!(terminal.stdout, "{object}").map_err(Error::output)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn show(name: &str, terminal: &mut Terminal) -> Result<ExitCode, Error> {
    let source = Source::library(name)?;
    terminal.stdout.write_all(source.text.as_bytes()).map_err(Error::output)?;
    Ok(ExitCode::SUCCESS)
}
