use std::fmt;
use std::str::FromStr;

use crate::Error;

/// Where a Vizier listens when it is not said otherwise.
const DEFAULT_PORT: u16 = 51200;

/// The same of a control plane.
pub const CLOUD_PORT: u16 = 51600;

/// Where a Vizier is: `host:port`, `http://host:port` or `https://host:port`. The port may be left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Host and port.
    authority: String,
    /// As the text said; None if it did not.
    tls: Option<bool>,
}

impl Address {
    /// What the connection goes to; TLS is used for `https://`, and where a CA is known and the text does not say `http://`.
    pub(crate) fn uri(&self, has_ca: bool) -> (String, bool) {
        let tls = self.tls.unwrap_or(has_ca);
        (format!("{}://{}", if tls { "https" } else { "http" }, self.authority), tls)
    }

    /// Whether it is this machine's own, by its text.
    pub fn is_loopback(&self) -> bool {
        let host = self.authority.rsplit_once(':').map_or(self.authority.as_str(), |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
    }

    /// Whether the text asks for TLS.
    pub fn wants_tls(&self) -> bool {
        self.tls == Some(true)
    }

    /// The address in a text, with this port where it says none.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str, default_port: u16) -> Result<Address, Error> {
        let wrong = || Error::Address { text: text.to_owned() };
        let (rest, tls) = match text.split_once("://") {
            Some(("http", rest)) => (rest, Some(false)),
            Some(("https", rest)) => (rest, Some(true)),
            Some(_) => return Err(wrong()),
            None => (text, None),
        };
        let rest = rest.trim_end_matches('/');
        let authority: tonic::codegen::http::uri::Authority = rest.parse().map_err(|_| wrong())?;
        let host = authority.host();
        let after_host = rest.strip_prefix(host).filter(|_| !host.is_empty()).ok_or_else(wrong)?;
        let authority = match (after_host, authority.port_u16()) {
            ("", _) => format!("{rest}:{default_port}"),
            (_, Some(_)) => rest.to_owned(),
            (_, None) => return Err(wrong()),
        };
        Ok(Address { authority, tls })
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Address, Error> {
        Address::parse(text, DEFAULT_PORT)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.tls {
            Some(true) => "https://",
            Some(false) => "http://",
            None => "",
        })?;
        f.write_str(&self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_host_port_and_perhaps_whether_it_is_encrypted() {
        for (text, has_ca, uri, tls) in [
            ("127.0.0.1:51200", false, "http://127.0.0.1:51200", false),
            ("127.0.0.1:51200", true, "https://127.0.0.1:51200", true),
            ("http://localhost:1", true, "http://localhost:1", false),
            ("https://vizier.example/", false, "https://vizier.example:51200", true),
            ("[::1]:7", false, "http://[::1]:7", false),
            ("[::1]", false, "http://[::1]:51200", false),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().uri(has_ca), (uri.to_owned(), tls), "{text}");
        }
        for text in ["", ":1", "ftp://x:1", "a b:1", "host:port", "host:99999", "host/path"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
