//! Which kernels there are: `kernels.toml`, as data.

use std::fmt;

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// One kernel to test on.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kernel {
    /// How it is called here; its package is `<name>.deb`.
    pub name: String,
    /// The Debian suite it comes from.
    pub suite: String,
    /// A pattern that its package's name matches.
    pub package: String,
    /// The ways of capturing that it has hooks for.
    #[serde(deserialize_with = "ways")]
    pub ways: Vec<Way>,
}

/// How data is captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// By the socket layer's own tracepoints, from 6.3.
    SocketLayer,
    /// By the exit of system calls.
    SyscallExit,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Way::SocketLayer => "a",
            Way::SyscallExit => "b",
        })
    }
}

fn ways<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Way>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.split_whitespace()
        .map(|word| match word {
            "a" => Ok(Way::SocketLayer),
            "b" => Ok(Way::SyscallExit),
            other => Err(serde::de::Error::custom(format!("no way is called `{other}`"))),
        })
        .collect()
}

#[derive(Deserialize)]
struct List {
    kernel: Vec<Kernel>,
}

/// All kernels of `kernels.toml`.
///
/// # Errors
/// If that file cannot be understood.
pub fn all() -> Result<Vec<Kernel>> {
    parse(include_str!("../kernels.toml"))
}

fn parse(text: &str) -> Result<Vec<Kernel>> {
    Ok(toml::from_str::<List>(text).context("cannot understand kernels.toml")?.kernel)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_and_a_kernel_with_both_ways_are_in_the_list() {
        let kernels = all().unwrap();
        assert!(kernels.iter().any(|kernel| kernel.name == "5.10" && kernel.ways == [Way::SyscallExit]));
        assert!(kernels.iter().any(|kernel| kernel.ways == [Way::SocketLayer, Way::SyscallExit]));
    }

    #[test]
    fn an_unknown_way_is_refused_by_its_name() {
        let error = parse("[[kernel]]\nname = \"1\"\nsuite = \"s\"\npackage = \"p\"\nways = \"b c\"\n").unwrap_err();
        assert!(format!("{error:#}").contains("no way is called `c`"), "{error:#}");
    }
}
