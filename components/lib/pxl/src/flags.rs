//! `#px:set key=value` lines.

use crate::diagnostics::{Code, Diagnostic, Result};
use crate::source::Span;
use crate::suggest::did_you_mean;

/// Rows of one output where the script does not say. Reference: api.md §3.1.
pub const MAX_OUTPUT_ROWS_DEFAULT: i64 = 10_000;

const PREFIX: &str = "#px:set ";

/// What a script asks of the run as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flags {
    /// Add the plan to the answer.
    pub explain: bool,
    /// Add the plan with times and rows to the answer.
    pub analyze: bool,
    /// Limit in front of every output; 0 or less means none.
    pub max_output_rows_per_table: i64,
    /// Add a table of what is missing from the answer.
    pub data_quality: bool,
}

impl Default for Flags {
    fn default() -> Flags {
        Flags { explain: false, analyze: false, max_output_rows_per_table: MAX_OUTPUT_ROWS_DEFAULT, data_quality: false }
    }
}

impl Flags {
    pub(crate) fn parse(script: &str) -> Result<Flags> {
        let mut flags = Flags::default();
        let mut start = 0;
        for line in script.split_inclusive('\n') {
            let text = line.trim_end_matches(['\n', '\r']);
            let span = Span { start, end: start + text.len() };
            start += line.len();
            if text.starts_with(PREFIX) {
                flags.set(text, span)?;
            }
        }
        Ok(flags)
    }

    fn set(&mut self, line: &str, span: Span) -> Result<()> {
        let malformed =
            || Diagnostic::new(Code::Flag, span, "Config setting is malformed").with_help("write '#px:set key=value'".to_owned());
        let parts: Vec<&str> = line.split(' ').collect();
        let [_, setting] = parts[..] else { return Err(malformed()) };
        let Some((key, value)) = setting.split_once('=') else { return Err(malformed()) };
        let wrong = |kind: &str| Diagnostic::new(Code::Flag, span, format!("'{value}' is not a valid {kind} for {key}"));
        match key {
            "explain" => self.explain = parse_bool(value).ok_or_else(|| wrong("boolean"))?,
            "analyze" => self.analyze = parse_bool(value).ok_or_else(|| wrong("boolean"))?,
            "data_quality" => self.data_quality = parse_bool(value).ok_or_else(|| wrong("boolean"))?,
            "max_output_rows_per_table" => self.max_output_rows_per_table = value.parse().map_err(|_| wrong("integer"))?,
            _ => {
                let help = did_you_mean(key, ["explain", "analyze", "data_quality", "max_output_rows_per_table"]);
                return Err(Diagnostic::new(Code::Flag, span, format!("{key} is not a valid flag")).maybe_help(help));
            }
        }
        Ok(())
    }
}

/// The forms that Go's `ParseBool` takes, since the original's flags do.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read_from_whole_lines_only() {
        let flags = Flags::parse("import px\n#px:set explain=T\n #px:set analyze=1\n#px:set max_output_rows_per_table=5\n").unwrap();
        assert_eq!(flags, Flags { explain: true, analyze: false, max_output_rows_per_table: 5, data_quality: false });
        assert!(Flags::parse("#px:set data_quality=true\nimport px").unwrap().data_quality);
        for (line, message) in [
            ("#px:set explain", "Config setting is malformed"),
            ("#px:set explain = 1", "Config setting is malformed"),
            ("#px:set explan=1", "explan is not a valid flag"),
            ("#px:set explain=yes", "'yes' is not a valid boolean for explain"),
            ("#px:set data_quality=maybe", "'maybe' is not a valid boolean for data_quality"),
            ("#px:set data_quality", "Config setting is malformed"),
            ("#px:set max_output_rows_per_table=1.5", "'1.5' is not a valid integer for max_output_rows_per_table"),
        ] {
            assert_eq!(Flags::parse(line).unwrap_err().message, message);
        }
    }
}
