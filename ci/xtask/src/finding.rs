//! What a chore has to say about the tree.

use std::fmt;

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    /// Worth a question in review; the check goes on.
    Ask,
    /// The check fails.
    Refuse,
}

/// One thing found, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) weight: Weight,
    /// A path, or a crate's name.
    pub(crate) place: String,
    pub(crate) message: String,
}

impl Finding {
    pub(crate) fn refuse(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { weight: Weight::Refuse, place: place.into(), message: message.into() }
    }

    pub(crate) fn ask(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { weight: Weight::Ask, place: place.into(), message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weight = match self.weight {
            Weight::Ask => "ask",
            Weight::Refuse => "refuse",
        };
        write!(f, "{weight}: {}: {}", self.place, self.message)
    }
}

/// Prints the findings; whether none of them is refused.
pub(crate) fn report(findings: &[Finding]) -> bool {
    for finding in findings {
        println!("{finding}");
    }
    findings.iter().all(|finding| finding.weight == Weight::Ask)
}
