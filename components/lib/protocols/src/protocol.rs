use std::fmt;

/// What a connection speaks. The numbers are those of the `protocol` column of `conn_stats`: stable, part of the public API.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// Not known (yet), or none of these.
    #[default]
    Unknown = 0,
    /// HTTP/1.x.
    Http = 1,
    /// HTTP/2, recognised by its preface; not parsed from the wire.
    Http2 = 2,
    /// TLS: what passes the socket is not readable.
    Tls = 13,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Unknown => "unknown",
            Protocol::Http => "http",
            Protocol::Http2 => "http2",
            Protocol::Tls => "tls",
        })
    }
}
