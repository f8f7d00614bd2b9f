//! The BPF programs are MIT or GPL-2.0: the kernel lends some of its helpers to GPL-compatible programs alone.

use crate::finding::Finding;
use crate::repo::File;

const EXPRESSION: &str = "MIT OR GPL-2.0-only";
const FOLDER: &str = "ebpf/probes/";

pub(super) fn probes(files: &[File]) -> Vec<Finding> {
    let header = format!("// SPDX-License-Identifier: {EXPRESSION}");
    let manifest = format!("license = \"{EXPRESSION}\"");
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.path.starts_with(FOLDER)) {
        let well = match file.path.rsplit_once('.').map(|(_, extension)| extension) {
            Some("rs") => file.text.lines().next() == Some(header.as_str()),
            Some("toml") if file.path.ends_with("Cargo.toml") => file.text.lines().any(|line| line == manifest),
            _ => true,
        };
        if !well {
            findings.push(Finding::refuse(&file.path, format!("does not say its licence, {EXPRESSION}")));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::{as_files, as_text};
    use super::*;

    #[test]
    fn a_program_without_its_licence_is_refused() {
        let files = as_files(&[
            ("ebpf/probes/Cargo.toml", "license = \"MIT OR GPL-2.0-only\"\n"),
            ("ebpf/probes/README.md", "Probes."),
            ("ebpf/probes/src/main.rs", "// SPDX-License-Identifier: MIT OR GPL-2.0-only\n"),
            ("ebpf/probes/src/socket.rs", "//! Sockets.\n"),
        ]);
        assert_eq!(as_text(&probes(&files)), ["refuse: ebpf/probes/src/socket.rs: does not say its licence, MIT OR GPL-2.0-only"]);
        assert_eq!(
            as_text(&probes(&as_files(&[("ebpf/probes/Cargo.toml", "license = \"MIT\"\n")]))),
            ["refuse: ebpf/probes/Cargo.toml: does not say its licence, MIT OR GPL-2.0-only"]
        );
    }
}
