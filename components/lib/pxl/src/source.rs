//! Where something stands in a script.

use rustpython_ruff_text_size::{Ranged, TextRange};

/// Bytes of a script, from `start` up to `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl From<TextRange> for Span {
    fn from(range: TextRange) -> Span {
        Span { start: range.start().to_usize(), end: range.end().to_usize() }
    }
}

/// The span of a node of the syntax tree.
pub(crate) fn span(node: &impl Ranged) -> Span {
    node.range().into()
}

/// Line and column, both from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// From 1 to the number of lines.
    pub line: u32,
    /// From 1.
    pub column: u32,
}

/// Where a byte of `text` stands. Past the end means the end of the last line that has text, so that the line always exists.
pub(crate) fn place(text: &str, offset: usize) -> Place {
    let end = text.trim_end_matches(['\n', '\r']).len();
    let mut offset = offset.min(end);
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    let before = &text[..offset];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
    Place { line: line as u32, column: (before[line_start..].chars().count() + 1) as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_counts_characters_and_stays_within_the_lines() {
        let text = "a\nöb\n\n";
        assert_eq!(place(text, 0), Place { line: 1, column: 1 });
        assert_eq!(place(text, 4), Place { line: 2, column: 2 });
        assert_eq!(place(text, 3), Place { line: 2, column: 1 });
        assert_eq!(place(text, 99), Place { line: 2, column: 3 });
        assert_eq!(place("", 5), Place { line: 1, column: 1 });
    }
}
