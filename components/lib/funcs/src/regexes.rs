//! Regular expressions. They are compiled once a batch, and run in time linear in their text.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::ArrayRef;
use datafusion::common::Result;
use pxl::SemanticRule;
use regex::Regex;
use tables::DataType;

use crate::builder::Builder;
use crate::kernel::{Bool, Columns, Kernel, Kind, Overload, TEXT_BYTES_MAX, Text, cut};

/// Dots match line ends too.
const FLAGS: &str = "(?s)";

pub(crate) fn add(b: &mut Builder) {
    let regex_match: Kernel = Arc::new(regex_match);
    let overload = Overload { args: vec![DataType::String, DataType::String], returns: DataType::Boolean, kernel: regex_match };
    b.kernel_with_init("regex_match", 1, SemanticRule::None, overload);
    let replace: Kernel = Arc::new(replace);
    let overload = Overload { args: vec![DataType::String; 3], returns: DataType::String, kernel: replace };
    b.kernel_with_init("replace", 1, SemanticRule::None, overload);
}

/// The whole text matches. A wrong expression matches nothing.
fn regex_match(columns: &Columns, rows: usize) -> Result<ArrayRef> {
    let (pattern, text) = (columns.reader::<Text>(0)?, columns.reader::<Text>(1)?);
    let pattern = pattern.row(0);
    // Alone first: it could close the group around it.
    let regex = Regex::new(pattern).and_then(|_| Regex::new(&format!(r"{FLAGS}\A(?:{pattern})\z"))).ok();
    Bool::collect((0..rows).map(|row| regex.as_ref().is_some_and(|regex| regex.is_match(text.row(row)))))
}

/// Every match gives way to the substitute, in which `\1` is the first group. A wrong expression gives its error.
fn replace(columns: &Columns, rows: usize) -> Result<ArrayRef> {
    let (pattern, text, substitute) = (columns.reader::<Text>(0)?, columns.reader::<Text>(1)?, columns.reader::<Text>(2)?);
    match Regex::new(&format!("{FLAGS}{}", pattern.row(0))) {
        Ok(regex) => Text::collect((0..rows).map(|row| Cow::Owned(replace_all(&regex, text.row(row), substitute.row(row))))),
        Err(error) => {
            let message = format!("Invalid regex in regex_replace: {error}");
            Text::collect((0..rows).map(|_| Cow::Owned(message.clone())))
        }
    }
}

fn replace_all(regex: &Regex, text: &str, substitute: &str) -> String {
    let substitute = to_dollars(substitute);
    let mut out = String::new();
    let mut done = 0;
    for found in regex.captures_iter(text) {
        let Some(whole) = found.get(0) else { continue };
        out.push_str(&text[done..whole.start()]);
        found.expand(&substitute, &mut out);
        done = whole.end();
        if out.len() > TEXT_BYTES_MAX {
            return cut(&out, TEXT_BYTES_MAX).to_owned();
        }
    }
    out.push_str(&text[done..]);
    out
}

/// `\1` to `${1}`, `\\` to `\`, and `$` means itself.
fn to_dollars(substitute: &str) -> String {
    let mut out = String::with_capacity(substitute.len());
    let mut chars = substitute.chars();
    while let Some(c) = chars.next() {
        match c {
            '$' => out.push_str("$$"),
            '\\' => match chars.next() {
                Some(digit @ '0'..='9') => out.extend(['$', '{', digit, '}']),
                Some('\\') | None => out.push('\\'),
                Some(other) => out.extend(['\\', other]),
            },
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_named_by_backslashes() {
        let regex = Regex::new("(a+)(b)").unwrap();
        assert_eq!(replace_all(&regex, "xaab-ab", r"<\2\1$1\\>"), r"x<baa$1\>-<ba$1\>");
        assert_eq!(replace_all(&Regex::new("").unwrap(), "ab", "-"), "-a-b-");
    }

    #[test]
    fn what_grows_is_cut() {
        let regex = Regex::new("a").unwrap();
        assert_eq!(replace_all(&regex, &"a".repeat(2000), &"x".repeat(2000)).len(), TEXT_BYTES_MAX);
    }
}
