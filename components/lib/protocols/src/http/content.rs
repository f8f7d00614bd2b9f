use std::io::Read as _;

use flate2::read::GzDecoder;
use httparse::Header;

use super::body::Body;
pub(super) use super::exchange::ContentType;
use super::head::value_of;
use super::limits::{BODY_COLUMN_BYTES_MAX, BODY_KEPT_BYTES_MAX};
use crate::text::{cut, lossy};

/// A body of which the head says nothing. This and the following texts are the reference's; scripts match on them.
const UNKNOWN: &str = "<removed: unknown content-type>";
/// A body that is not text.
const NOT_TEXT: &str = "<removed: non-text content-type>";
/// A body that says it is gzip, and is not.
const NOT_GZIP: &str = "<Failed to gunzip body>";
/// A body that passed without being copied: `sendfile`, a gap. Ours; the reference shows filler bytes.
const NOT_CAPTURED: &str = "<not captured>";

/// What a body's column shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    /// Its beginning.
    Text,
    /// Its beginning, unpacked.
    Gzip,
    /// Its beginning, with `%41` and `+` decoded.
    Form,
    /// That it is of an unknown kind, if there is any.
    Unknown,
    /// That it is not text.
    NotText,
}

fn contains(value: &[u8], word: &[u8]) -> bool {
    value.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word))
}

impl Policy {
    pub(super) fn of_request(fields: &[Header<'_>]) -> Policy {
        match value_of(fields, "content-type") {
            Some(value) if contains(value, b"application/x-www-form-urlencoded") => Policy::Form,
            _ => Policy::Text,
        }
    }

    pub(super) fn of_response(fields: &[Header<'_>]) -> (Policy, ContentType) {
        let Some(value) = value_of(fields, "content-type") else { return (Policy::Unknown, ContentType::Other) };
        let json = contains(value, b"json");
        let policy = match value_of(fields, "content-encoding") {
            _ if !json && !contains(value, b"text/") => Policy::NotText,
            Some(coding) if coding.trim_ascii().eq_ignore_ascii_case(b"gzip") => Policy::Gzip,
            _ => Policy::Text,
        };
        (policy, if json { ContentType::Json } else { ContentType::Other })
    }

    /// Whether it looks at the body's bytes at all.
    pub(super) fn keeps(self) -> bool {
        matches!(self, Policy::Text | Policy::Gzip | Policy::Form)
    }

    /// The column's text.
    pub(super) fn show(self, body: Body) -> String {
        let text = match self {
            Policy::Unknown if body.size > 0 => return UNKNOWN.to_owned(),
            Policy::NotText => return NOT_TEXT.to_owned(),
            _ if body.size == 0 => return String::new(),
            _ if body.kept.is_empty() => return NOT_CAPTURED.to_owned(),
            Policy::Text | Policy::Unknown => String::from_utf8(body.kept).unwrap_or_else(|error| lossy(error.as_bytes())),
            Policy::Form => lossy(&decode_form(&body.kept)),
            Policy::Gzip => match gunzip(&body.kept, body.kept.len() as u64 == body.size) {
                Some(bytes) => lossy(&bytes),
                None => return NOT_GZIP.to_owned(),
            },
        };
        cut(text, BODY_COLUMN_BYTES_MAX)
    }
}

/// The beginning of what `bytes` unpack to. `None` if they are not gzip; a packed body of which only the beginning was kept shows what that gives.
fn gunzip(bytes: &[u8], whole: bool) -> Option<Vec<u8>> {
    let mut reader = GzDecoder::new(bytes);
    let (mut out, mut filled) = (vec![0; BODY_KEPT_BYTES_MAX], 0);
    // The buffer bounds what a bomb can make.
    while filled < out.len() {
        match reader.read(&mut out[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(_) if whole || filled == 0 => return None,
            Err(_) => break,
        }
    }
    out.truncate(filled);
    Some(out)
}

/// `application/x-www-form-urlencoded`: `+` is a space, `%41` a byte; what is not well formed stays.
fn decode_form(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'+', _) => out.push(b' '),
            (b'%', [high, low, tail @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let digit = |byte: u8| (byte as char).to_digit(16).unwrap_or_default() as u8;
                out.push(digit(*high) << 4 | digit(*low));
                rest = tail;
            }
            _ => out.push(*first),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut writer = GzEncoder::new(Vec::new(), Compression::fast());
        writer.write_all(text).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn forms_are_decoded() {
        assert_eq!(decode_form(b"a=1+2&b=%41%2f%zz%4"), b"a=1 2&b=A/%zz%4");
    }

    #[test]
    fn gzip_is_unpacked_within_bounds() {
        assert_eq!(gunzip(&gzip(b"hello"), true).unwrap(), b"hello");
        assert_eq!(gunzip(&gzip(&vec![b'x'; 10_000_000])[..900], false).unwrap().len(), BODY_KEPT_BYTES_MAX);
        assert_eq!(gunzip(b"not gzip at all", true), None);
        assert_eq!(gunzip(&gzip(b"hello")[..12], true), None);
    }

    #[test]
    fn a_body_that_was_not_captured_says_so() {
        let body = || Body { size: 5, missed: 5, ..Body::default() };
        assert_eq!(Policy::Text.show(body()), NOT_CAPTURED);
        assert_eq!(Policy::Gzip.show(body()), NOT_CAPTURED);
        assert_eq!(Policy::NotText.show(body()), NOT_TEXT);
    }
}
