//! Text. Lengths and positions are bytes, as in the original; what would cut a character is cut before it.

use std::borrow::Cow;
use std::fmt::Write;

use pxl::SemanticRule;

use crate::builder::Builder;
use crate::kernel::{Bool, Int, TEXT_BYTES_MAX, Text, binary, cut, ternary, unary};

fn owned(text: &str) -> Cow<'static, str> {
    Cow::Owned(text.to_owned())
}

pub(crate) fn add(b: &mut Builder) {
    let none = || SemanticRule::None;
    b.kernel("add", none(), binary::<Text, Text, Text>(concat));
    b.kernel("contains", none(), binary::<Text, Text, Bool>(|text, part| text.contains(part)));
    b.kernel("length", none(), unary::<Text, Int>(|text| text.len() as i64));
    b.kernel("find", none(), binary::<Text, Text, Int>(|text, part| text.find(part).map_or(-1, |at| at as i64)));
    b.kernel("substring", none(), ternary::<Text, Int, Int, Text>(|text, at, length| owned(substring(text, at, length))));
    b.kernel("tolower", none(), unary::<Text, Text>(|text| Cow::Owned(text.to_ascii_lowercase())));
    b.kernel("toupper", none(), unary::<Text, Text>(|text| Cow::Owned(text.to_ascii_uppercase())));
    b.kernel("trim", none(), unary::<Text, Text>(|text| owned(text.trim_ascii())));
    b.kernel("strip_prefix", none(), binary::<Text, Text, Text>(|prefix, text| owned(text.strip_prefix(prefix).unwrap_or(text))));
    b.kernel("hex_to_ascii", none(), unary::<Text, Text>(|text| Cow::Owned(hex_to_text(text).unwrap_or_default())));
    b.kernel("bytes_to_hex", none(), unary::<Text, Text>(|text| Cow::Owned(to_hex(text))));
    b.kernel("atoi", none(), binary::<Text, Int, Int>(|text, default| text.trim_ascii().parse().unwrap_or(default)));
    b.kernel("itoa", none(), unary::<Int, Text>(|value| Cow::Owned(value.to_string())));
    for name in ["has_service_id", "has_service_name", "has_value"] {
        b.kernel(name, none(), binary::<Text, Text, Bool>(has_value));
    }
}

fn concat(a: &str, b: &str) -> Cow<'static, str> {
    let a = cut(a, TEXT_BYTES_MAX);
    let mut out = String::with_capacity((a.len() + b.len()).min(TEXT_BYTES_MAX));
    out.push_str(a);
    out.push_str(cut(b, TEXT_BYTES_MAX - a.len()));
    Cow::Owned(out)
}

/// `length` bytes from `at`; nothing if `at` is not within the text.
pub(crate) fn substring(text: &str, at: i64, length: i64) -> &str {
    let (Ok(at), Ok(length)) = (usize::try_from(at), usize::try_from(length)) else { return "" };
    if at >= text.len() {
        return "";
    }
    let start = text.ceil_char_boundary(at);
    let end = text.floor_char_boundary(at.saturating_add(length).min(text.len()));
    text.get(start..end).unwrap_or("")
}

/// Pairs of digits to bytes. None if it is not that.
fn hex_to_text(hex: &str) -> Option<String> {
    let digits = hex.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let bytes: Option<Vec<u8>> =
        digits.chunks_exact(2).map(|pair| Some((digit(pair.first()?)? << 4 | digit(pair.get(1)?)?) as u8)).collect();
    Some(String::from_utf8_lossy(&bytes?).into_owned())
}

fn to_hex(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(bytes.len().min(TEXT_BYTES_MAX) * 4);
    for byte in bytes.iter().take(TEXT_BYTES_MAX / 4) {
        // Writing to a String does not fail.
        let _ = write!(out, "\\x{byte:02x}");
    }
    out
}

/// Whether `text` is `value`, or a JSON array with it.
fn has_value(text: &str, value: &str) -> bool {
    if text == value {
        return true;
    }
    text.trim_start().starts_with('[')
        && serde_json::from_str::<Vec<String>>(text).is_ok_and(|items| items.iter().any(|item| item == value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_substring_never_leaves_the_text_nor_cuts_a_character() {
        for (text, at, length, want) in [
            ("hello", 1, 3, "ell"),
            ("hello", 0, 99, "hello"),
            ("hello", 5, 1, ""),
            ("hello", -1, 2, ""),
            ("hello", 1, -2, ""),
            ("hello", i64::MAX, i64::MAX, ""),
            ("aöb", 2, 2, "b"),
            ("aöb", 0, 2, "a"),
            ("ö", 1, 1, ""),
        ] {
            assert_eq!(substring(text, at, length), want, "{text} {at} {length}");
        }
    }

    #[test]
    fn hex_reads_both_ways() {
        assert_eq!(hex_to_text("6869").as_deref(), Some("hi"));
        assert_eq!(hex_to_text("6"), None);
        assert_eq!(hex_to_text("zz"), None);
        assert_eq!(to_hex("hi"), "\\x68\\x69");
    }

    #[test]
    fn a_value_is_found_alone_or_in_a_list() {
        assert!(has_value("a/b", "a/b"));
        assert!(has_value("[\"a/b\",\"c\"]", "c"));
        assert!(!has_value("[\"a/b\"", "a/b"));
        assert!(!has_value("a/b", "b"));
    }
}
