use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_nats::{ConnectOptions, HeaderValue, ServerAddr};
use tokio::sync::{mpsc, watch};

use super::connection::Connection;
use super::watchdog;
use crate::backoff::jittered;
use crate::bus::{Bus, Wire};
use crate::counts::Counters;
use crate::error::Error;
use crate::link::{Link, Reason};
use crate::mailbox::QueueLimits;
use crate::subject::check;

/// The largest message of a server that is not told otherwise. Reference: `max_payload` of nats-server, 1 MiB.
pub const PAYLOAD_BYTES_MAX: usize = 1024 * 1024;

/// The first wait after a lost connection, before jitter: a server that restarts is back by then.
const RECONNECT_FIRST: Duration = Duration::from_millis(100);

/// No wait is longer, so that a node is back within seconds once the server is; a thousand nodes then make some 300 attempts a second.
const RECONNECT_MAX: Duration = Duration::from_secs(4);

/// Longest time from dialling to the server's first answer.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// How often a silent connection is asked whether it lives; two unanswered questions end it. A node that vanished is noticed within a minute.
const PING_EVERY: Duration = Duration::from_secs(20);

/// Our own queue behind this one is what is bounded and counted; this one is emptied at once and holds what one turn of the connection reads.
const HANDOVER_MESSAGES_MAX: usize = 1 << 20;

/// News of a connection that wait to be looked at; async-nats drops further ones.
const NEWS_MAX: usize = 128;

/// A text that no log shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// What the server is shown beside a certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Nothing.
    #[default]
    None,
    /// A token.
    Token(Secret),
    /// A user and a password.
    User {
        /// Who.
        name: String,
        /// The password.
        password: Secret,
    },
}

/// Files in PEM, read again for each connection, so that renewed ones are used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Authorities that may have signed the server's certificate; no others are trusted.
    pub ca: PathBuf,
    /// Our certificate, signed by an authority that the server trusts.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// How a NATS server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nats {
    /// `host`, `host:port` or `nats://host:port`, several with commas between them; port 4222 where none is said.
    pub servers: String,
    /// Under which name: what receivers and the server see.
    pub name: String,
    /// With TLS, and then never without.
    pub tls: Option<TlsFiles>,
    /// With which credentials.
    pub credentials: Credentials,
    /// Bounds of the queue of each subscription.
    pub limits: QueueLimits,
}

impl Nats {
    /// Plaintext, no credentials, the usual bounds.
    pub fn new(servers: impl Into<String>, name: impl Into<String>) -> Self {
        Self { servers: servers.into(), name: name.into(), tls: None, credentials: Credentials::None, limits: QueueLimits::default() }
    }

    /// Starts to connect, and goes on for ever: a server that is not there is no error, see [`Bus::link`] and [`Bus::connected`].
    ///
    /// # Errors
    /// What no server could heal: [`Error::Name`], [`Error::Address`], [`Error::File`].
    pub async fn connect(self) -> Result<Bus, Error> {
        check(&self.name, "the name of a connection", false)?;
        let sender: HeaderValue = self.name.parse().map_err(|_| Error::Name {
            text: self.name.clone(),
            what: "the name of a connection",
            reason: "it has characters that no header carries",
        })?;
        let servers = self.addresses()?;
        if let Some(tls) = &self.tls {
            readable(tls).await?;
        }
        let counters = Arc::new(Counters::default());
        let (link, seen) = watch::channel(Link::lost(Reason::Starting));
        let link = Arc::new(link);
        let (news, incoming) = mpsc::channel(NEWS_MAX);
        let failures = Arc::clone(&link);
        let options = self
            .options()
            .event_callback(move |event| {
                let news = news.clone();
                async move {
                    // The watchdog is gone only when the bus is.
                    let _gone = news.send(event).await.is_err();
                }
            })
            .reconnect_to_server_callback(move |servers, _info| {
                watchdog::note_failure(&failures, servers.iter().find_map(|server| server.last_error.as_deref()));
                std::future::ready(None)
            });
        let client = options.connect(servers.as_slice()).await.map_err(|source| self.unusable(io::Error::other(source)))?;
        let watchdog = watchdog::spawn(client.clone(), incoming, link, Arc::clone(&counters));
        let connection = Connection::new(client, sender, watchdog);
        Ok(Bus::new(self.name.into(), self.limits, counters, seen, Wire::Nats(connection)))
    }

    fn addresses(&self) -> Result<Vec<ServerAddr>, Error> {
        let parse = |text: &str| text.parse().map_err(|source| self.unusable(source));
        self.servers.split(',').map(str::trim).map(parse).collect()
    }

    fn unusable(&self, source: io::Error) -> Error {
        Error::Address { address: self.servers.clone(), source }
    }

    fn options(&self) -> ConnectOptions {
        let mut options = ConnectOptions::new()
            .name(&self.name)
            .retry_on_initial_connect()
            .max_reconnects(None)
            .connection_timeout(CONNECT_MAX)
            .ping_interval(PING_EVERY)
            .subscription_capacity(HANDOVER_MESSAGES_MAX)
            // Each request has a deadline of its own.
            .request_timeout(None)
            // Inside a cluster a server is reached by its service, not by the addresses that servers have among themselves.
            .ignore_discovered_servers()
            .reconnect_delay_callback(|attempt| {
                let attempt = u32::try_from(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
                jittered(RECONNECT_FIRST, RECONNECT_MAX, attempt, rand::random())
            });
        options = match self.credentials.clone() {
            Credentials::None => options,
            Credentials::Token(Secret(token)) => options.token(token),
            Credentials::User { name, password: Secret(password) } => options.user_and_password(name, password),
        };
        if let Some(TlsFiles { ca, certificate, key }) = self.tls.clone() {
            options = options.require_tls(true).add_root_certificates(ca).add_client_certificate(certificate, key);
        }
        options
    }
}

/// Whether the files are there now. What they hold is found out by connecting.
async fn readable(tls: &TlsFiles) -> Result<(), Error> {
    let files: [(&'static str, &Path); 3] =
        [("authority's certificate", &tls.ca), ("client's certificate", &tls.certificate), ("client's key", &tls.key)];
    for (what, path) in files {
        tokio::fs::read(path).await.map_err(|source| Error::File { what, path: path.to_owned(), source })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        let mut nats = Nats::new("pl-nats", "pem");
        nats.credentials = Credentials::User { name: "u".to_owned(), password: Secret::new("hunter2") };
        assert!(!format!("{nats:?}").contains("hunter2"));
    }

    #[tokio::test]
    async fn what_no_server_could_heal_is_said_at_once() {
        let error = Nats::new("http://x", "pem").connect().await.unwrap_err();
        assert_eq!(error.to_string(), "`http://x` is not the address of a NATS server");
        let error = Nats::new("pl-nats", "p m").connect().await.unwrap_err();
        assert_eq!(error.to_string(), "`p m` cannot be the name of a connection: it has spaces or control characters");
        let mut nats = Nats::new("pl-nats", "pem");
        let missing = |name: &str| PathBuf::from("/nowhere").join(name);
        nats.tls = Some(TlsFiles { ca: missing("ca.crt"), certificate: missing("client.crt"), key: missing("client.key") });
        assert_eq!(nats.connect().await.unwrap_err().to_string(), "cannot read the authority's certificate /nowhere/ca.crt");
    }
}
