//! Holds golden/config/metadata: what `metadata` says about its configuration.

use std::process::Command;

use anyhow::{Result, ensure};
use golden::Case;

#[test]
fn the_configuration_is_told_as_pinned() {
    golden::run("config/metadata", check);
}

fn check(case: &Case) -> Result<()> {
    let words = case.input("command.txt")?;
    let mut words = words.lines();
    ensure!(words.next() == Some("metadata"), "the first line of command.txt is the binary");
    // No variable of ours or the original's, no terminal: nothing of the machine shows.
    let output = Command::new(env!("CARGO_BIN_EXE_metadata")).args(words).env_clear().output()?;
    case.expect("stdout.txt", &String::from_utf8(output.stdout)?)?;
    case.expect("stderr.txt", &String::from_utf8(output.stderr)?)?;
    case.expect("exit_code.txt", &format!("{}\n", output.status.code().unwrap_or(-1)))
}
