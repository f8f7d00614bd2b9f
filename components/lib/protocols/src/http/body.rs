use super::limits::{BODY_KEPT_BYTES_MAX, CHUNK_LINE_BYTES_MAX};

/// Where a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// After so many bytes.
    Length(u64),
    /// Where its chunks say.
    Chunked(Chunks),
    /// With the connection.
    UntilEnd,
}

/// Place within chunks. Source: RFC 9112 §7.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chunks {
    /// In the line with a chunk's size.
    Size { value: u64, digits: u8, extension: bool, line_bytes: usize },
    /// In a chunk's data.
    Data(u64),
    /// Behind it: the end of line.
    DataEnd,
    /// In the trailers: how many bytes this line has so far, and all of them.
    Trailer { line_bytes: usize, all_bytes: usize },
    /// Behind the last byte.
    Done,
}

/// The chunks make no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadChunk;

const SIZE_START: Chunks = Chunks::Size { value: 0, digits: 0, extension: false, line_bytes: 0 };

impl Framing {
    pub(super) fn length(bytes: u64) -> Framing {
        Framing::Length(bytes)
    }

    pub(super) fn chunked() -> Framing {
        Framing::Chunked(SIZE_START)
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self, Framing::Length(0) | Framing::Chunked(Chunks::Done))
    }

    /// Takes from `bytes` what belongs to the body; content goes to `body`. How many bytes it took.
    pub(super) fn push(&mut self, bytes: &[u8], body: &mut Body) -> Result<usize, BadChunk> {
        match self {
            Framing::Length(remaining) => {
                let taken = bytes.len().min(usize::try_from(*remaining).unwrap_or(usize::MAX));
                *remaining -= taken as u64;
                body.push(&bytes[..taken]);
                Ok(taken)
            }
            Framing::UntilEnd => {
                body.push(bytes);
                Ok(bytes.len())
            }
            Framing::Chunked(chunks) => {
                let mut taken = 0;
                while taken < bytes.len() && *chunks != Chunks::Done {
                    taken += chunks.step(&bytes[taken..], body)?;
                }
                Ok(taken)
            }
        }
    }

    /// Steps over at most `len` bytes that were not captured: how many surely belong to the body. `None` where the framing itself is lost.
    pub(super) fn skip(&mut self, len: u64, body: &mut Body) -> Option<u64> {
        let taken = match self {
            Framing::Length(remaining) => {
                let taken = len.min(*remaining);
                *remaining -= taken;
                taken
            }
            Framing::UntilEnd => len,
            Framing::Chunked(Chunks::Data(remaining)) if len <= *remaining => {
                *remaining -= len;
                if *remaining == 0 {
                    *self = Framing::Chunked(Chunks::DataEnd);
                }
                len
            }
            Framing::Chunked(_) => return None,
        };
        body.miss(taken);
        Some(taken)
    }
}

impl Chunks {
    /// One step; `bytes` is not empty. How many bytes it took.
    fn step(&mut self, bytes: &[u8], body: &mut Body) -> Result<usize, BadChunk> {
        let byte = bytes[0];
        match self {
            Chunks::Size { value, digits, extension, line_bytes } => {
                *line_bytes += 1;
                match byte {
                    b'\n' if *digits == 0 => return Err(BadChunk),
                    b'\n' if *value == 0 => *self = Chunks::Trailer { line_bytes: 0, all_bytes: 0 },
                    b'\n' => *self = Chunks::Data(*value),
                    _ if *line_bytes > CHUNK_LINE_BYTES_MAX => return Err(BadChunk),
                    _ if *extension => {}
                    b';' | b' ' | b'\t' | b'\r' if *digits > 0 => *extension = true,
                    _ => {
                        let digit = (byte as char).to_digit(16).ok_or(BadChunk)?;
                        // 15 digits are 60 bits.
                        if *digits == 15 {
                            return Err(BadChunk);
                        }
                        (*value, *digits) = (*value << 4 | u64::from(digit), *digits + u8::from(*value > 0 || digit > 0 || *digits == 0));
                    }
                }
                Ok(1)
            }
            Chunks::Data(remaining) => {
                let taken = bytes.len().min(usize::try_from(*remaining).unwrap_or(usize::MAX));
                body.push(&bytes[..taken]);
                *remaining -= taken as u64;
                if *remaining == 0 {
                    *self = Chunks::DataEnd;
                }
                Ok(taken)
            }
            Chunks::DataEnd => match byte {
                b'\r' => Ok(1),
                b'\n' => {
                    *self = SIZE_START;
                    Ok(1)
                }
                _ => Err(BadChunk),
            },
            Chunks::Trailer { line_bytes, all_bytes } => {
                *all_bytes += 1;
                match byte {
                    b'\n' if *line_bytes == 0 => *self = Chunks::Done,
                    b'\n' => *line_bytes = 0,
                    b'\r' => {}
                    _ if *all_bytes > CHUNK_LINE_BYTES_MAX => return Err(BadChunk),
                    _ => *line_bytes += 1,
                }
                Ok(1)
            }
            Chunks::Done => Ok(0),
        }
    }
}

/// A body as it passes: its size, and as much of its beginning as is wanted.
#[derive(Debug, Default)]
pub(super) struct Body {
    /// All bytes, those that were not captured too.
    pub(super) size: u64,
    /// The beginning, up to the first byte that was not captured.
    pub(super) kept: Vec<u8>,
    /// Bytes that were not captured.
    pub(super) missed: u64,
    /// Whether anybody will look at `kept`.
    pub(super) keep: bool,
}

impl Body {
    fn push(&mut self, bytes: &[u8]) {
        self.size = self.size.saturating_add(bytes.len() as u64);
        if self.keep && self.missed == 0 && self.kept.len() < BODY_KEPT_BYTES_MAX {
            self.kept.extend_from_slice(&bytes[..bytes.len().min(BODY_KEPT_BYTES_MAX - self.kept.len())]);
        }
    }

    fn miss(&mut self, len: u64) {
        self.size = self.size.saturating_add(len);
        self.missed = self.missed.saturating_add(len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<(String, usize, bool), BadChunk> {
        let (mut framing, mut body) = (Framing::chunked(), Body { keep: true, ..Body::default() });
        let taken = framing.push(bytes, &mut body)?;
        Ok((String::from_utf8(body.kept).unwrap(), taken, framing.is_done()))
    }

    #[test]
    fn chunks_end_where_they_say() {
        assert_eq!(read(b"3\r\nabc\r\n0\r\n\r\nrest"), Ok(("abc".to_owned(), 13, true)));
        assert_eq!(read(b"00003;name=\"v;w\"\r\nabc\r\n000\r\nTrailer: x\r\n\r\n"), Ok(("abc".to_owned(), 42, true)));
        assert_eq!(read(b"3 \r\nabc\r\nA\n0123456789\n0\n\n"), Ok(("abc0123456789".to_owned(), 25, true)));
        assert_eq!(read(b"3\r\nab"), Ok(("ab".to_owned(), 5, false)));
    }

    #[test]
    fn bad_chunks_are_bad() {
        for bytes in [&b"\r\n"[..], b"-1\r\n", b"g\r\n", b"3\r\nabcd\r\n", b"1234567890123456\r\n", b";x\r\n"] {
            assert_eq!(read(bytes), Err(BadChunk), "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn what_was_not_captured_counts_and_ends_what_is_kept() {
        let (mut framing, mut body) = (Framing::chunked(), Body { keep: true, ..Body::default() });
        assert_eq!(framing.push(b"a\r\n01", &mut body), Ok(5));
        assert_eq!(framing.skip(9, &mut body), None);
        assert_eq!(framing.skip(3, &mut body), Some(3));
        assert_eq!(framing.push(b"56789\r\n0\r\n\r\n", &mut body), Ok(12));
        assert_eq!((framing.is_done(), body.size, body.missed, &body.kept[..]), (true, 10, 3, &b"01"[..]));
    }
}
