use std::fmt::Write as _;

/// What ends a text that was cut. Source: the record builder's limits of the reference; scripts match on it.
pub const TRUNCATED: &str = "... [TRUNCATED]";

/// At most `max` bytes of `text`, whole characters, and [`TRUNCATED`] if that is not all.
pub(crate) fn cut(mut text: String, max: usize) -> String {
    if text.len() > max {
        text.truncate(text.floor_char_boundary(max));
        text.push_str(TRUNCATED);
    }
    text
}

/// Text of bytes; what is not UTF-8 becomes the replacement character.
pub(crate) fn lossy(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// Bytes that a JSON string cannot hold as they are; DEL too, which nobody wants to see.
#[expect(clippy::needless_bitwise_bool, reason = "without branches it is done for many bytes at once")]
fn is_escaped(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\') | (byte == 0x7f)
}

/// Appends a word as a JSON string, quotes included. It has nothing that needs an escape: a token of RFC 9110 §5.6.2.
pub(crate) fn push_json_word(out: &mut String, word: &str) {
    debug_assert!(!word.bytes().any(is_escaped), "{word:?}");
    out.push('"');
    out.push_str(word);
    out.push('"');
}

/// Appends `text` as a JSON string, quotes included.
pub(crate) fn push_json_string(out: &mut String, text: &str) {
    out.push('"');
    // Almost nothing needs an escape: all bytes are looked at, many at once.
    if !text.bytes().fold(false, |escaped, byte| escaped | is_escaped(byte)) {
        out.push_str(text);
        out.push('"');
        return;
    }
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..0x20 | 0x7f => "",
            _ => continue,
        };
        out.push_str(&text[plain..at]);
        plain = at + 1;
        if escape.is_empty() {
            let _ = write!(out, "\\u{byte:04x}");
        } else {
            out.push_str(escape);
        }
    }
    out.push_str(&text[plain..]);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_never_splits_a_character() {
        assert_eq!(cut("aé".to_owned(), 3), "aé");
        assert_eq!(cut("aéb".to_owned(), 2), format!("a{TRUNCATED}"));
    }

    #[test]
    fn json_strings_are_read_back_by_a_json_reader() {
        for text in ["", "plain", "q\"b\\s", "\u{1}\n\r\t\u{7f}", "é\u{1F600}"] {
            let mut out = String::new();
            push_json_string(&mut out, text);
            assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
        }
    }
}
