//! What the serial console says.

use std::fmt;

use crate::kernels::Way;

/// Lines of ours begin with this; the others are the kernel's or the check's own.
pub(crate) const MARK: &str = "px-vm:";

/// How the check ended for one way of capturing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Every line of the check was fine.
    Well,
    /// The check said that something is wrong.
    Failed {
        /// Its exit code.
        code: i32,
    },
    /// The machine stopped, or ran out of time, before the check had ended.
    Silent,
}

/// One boot.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// `uname -r` inside; empty if the machine did not come that far.
    pub release: String,
    /// A verdict for each way, in the order in which they were asked for.
    pub verdicts: Vec<(Way, Verdict)>,
    /// Everything that stood on the console.
    pub console: String,
}

impl Outcome {
    /// Whether all verdicts are good.
    pub fn is_well(&self) -> bool {
        self.verdicts.iter().all(|(_, verdict)| *verdict == Verdict::Well)
    }

    pub(crate) fn read(ways: &[Way], console: String) -> Self {
        let ours = || console.lines().filter_map(|line| line.trim().split_once(MARK)).map(|(_, said)| said.trim());
        let release = ours().find_map(|said| said.strip_prefix("release ")).unwrap_or_default().to_owned();
        let verdict = |way: Way| {
            let code = ours().find_map(|said| said.strip_prefix(&format!("way {way} exit "))?.parse().ok());
            match code {
                Some(0) => Verdict::Well,
                Some(code) => Verdict::Failed { code },
                None => Verdict::Silent,
            }
        };
        let verdicts = ways.iter().map(|way| (*way, verdict(*way))).collect();
        Self { release, verdicts, console }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "kernel {}", if self.release.is_empty() { "(did not reach user space)" } else { &self.release })?;
        for (way, verdict) in &self.verdicts {
            match verdict {
                Verdict::Well => writeln!(f, "way {way}: well")?,
                Verdict::Failed { code } => writeln!(f, "way {way}: the check failed with code {code}")?,
                Verdict::Silent => writeln!(f, "way {way}: the machine stopped before the check had ended")?,
            }
        }
        write!(f, "console:\n{}", self.console)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(console: &str) -> Outcome {
        Outcome::read(&[Way::SocketLayer, Way::SyscallExit], console.to_owned())
    }

    #[test]
    fn each_way_has_its_verdict() {
        let outcome = read("[ 0.1] boot\npx-vm: release 6.12.1\nok a\npx-vm: way a exit 0\nFAIL b\r\npx-vm: way b exit 1\r\n");
        assert_eq!(outcome.release, "6.12.1");
        assert_eq!(outcome.verdicts, [(Way::SocketLayer, Verdict::Well), (Way::SyscallExit, Verdict::Failed { code: 1 })]);
        assert!(!outcome.is_well());
    }

    #[test]
    fn a_machine_that_stopped_is_no_success() {
        let outcome = read("px-vm: release 6.12.1\npx-vm: way a exit 0\nKernel panic - not syncing\n");
        assert_eq!(outcome.verdicts[1], (Way::SyscallExit, Verdict::Silent));
        assert!(!outcome.is_well());
        assert!(outcome.to_string().contains("way b: the machine stopped before the check had ended\nconsole:\npx-vm"));
    }

    #[test]
    fn all_well_is_well() {
        assert!(read("[   3.1] noise px-vm: way a exit 0\npx-vm: way b exit 0\n").is_well());
    }
}
