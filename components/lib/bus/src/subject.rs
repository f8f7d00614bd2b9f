//! Where messages go, and of which type they are there.

use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use api::cvmsgspb::{C2vMessage, V2cMessage};
use api::vizier::messages::{MetricsMessage, VizierMessage};
use ids::AgentId;

use crate::Error;

/// A NATS server's control line has 4096 bytes, for the subject, the one to answer to, and numbers.
const SUBJECT_BYTES_MAX: usize = 1024;

const AGENT: &str = "Agent/";
const K8S_UPDATES: &str = "K8sUpdates/";
const UPDATE_AGENT: &str = "UpdateAgent";
const MISSING_METADATA: &str = "MissingMetadataRequests";
const METRICS: &str = "Metrics";
const V2C: &str = "v2c.";
const C2V: &str = "c2v.";

/// Which part of the cluster a feed of names covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Selector {
    /// Everything: for Kelvins.
    All,
    /// What touches one node: for the agent on it.
    Host(IpAddr),
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Selector::All => f.write_str("all"),
            Selector::Host(address) => address.fmt(f),
        }
    }
}

impl FromStr for Selector {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text == "all" {
            return Ok(Selector::All);
        }
        text.parse().map(Selector::Host).map_err(|_| refuse(text, "a selector", "neither `all` nor an IP address"))
    }
}

/// What follows `v2c.` or `c2v.`: tokens with dots between them, no wildcards.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(Arc<str>);

impl Topic {
    /// # Errors
    /// [`Error::Name`] if it cannot be a part of a subject.
    pub fn new(text: &str) -> Result<Self, Error> {
        check(text, "a topic", false).map(|()| Self(text.into()))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Every place there is inside a Vizier. Names: reference `src/vizier/services` and `src/shared/cvmsgspb`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// Agents to the metadata service.
    UpdateAgent,
    /// To one agent.
    Agent(AgentId),
    /// Names of Kubernetes to those who asked for that part.
    K8sUpdates(Selector),
    /// Agents that miss some of them.
    MissingMetadataRequests,
    /// Metrics to the cloud connector.
    Metrics,
    /// To the control plane, by the cloud connector.
    V2c(Topic),
    /// From the control plane, by the cloud connector.
    C2v(Topic),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::UpdateAgent => f.write_str(UPDATE_AGENT),
            Address::Agent(agent) => write!(f, "{AGENT}{agent}"),
            Address::K8sUpdates(selector) => write!(f, "{K8S_UPDATES}{selector}"),
            Address::MissingMetadataRequests => f.write_str(MISSING_METADATA),
            Address::Metrics => f.write_str(METRICS),
            Address::V2c(topic) => write!(f, "{V2C}{topic}"),
            Address::C2v(topic) => write!(f, "{C2V}{topic}"),
        }
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            UPDATE_AGENT => return Ok(Address::UpdateAgent),
            MISSING_METADATA => return Ok(Address::MissingMetadataRequests),
            METRICS => return Ok(Address::Metrics),
            _ => {}
        }
        if let Some(agent) = text.strip_prefix(AGENT) {
            agent.parse().map(Address::Agent).map_err(|_| refuse(text, "a subject", "the agent's id is not a UUID"))
        } else if let Some(selector) = text.strip_prefix(K8S_UPDATES) {
            selector.parse().map(Address::K8sUpdates)
        } else if let Some(topic) = text.strip_prefix(V2C) {
            Topic::new(topic).map(Address::V2c)
        } else if let Some(topic) = text.strip_prefix(C2V) {
            Topic::new(topic).map(Address::C2v)
        } else {
            Err(refuse(text, "a subject", "there is no such place inside a Vizier"))
        }
    }
}

/// Where messages of type `T` are sent.
pub struct Subject<T> {
    text: Arc<str>,
    carries: PhantomData<fn(T) -> T>,
}

impl<T> Subject<T> {
    /// A place that is none of [`Address`].
    ///
    /// # Errors
    /// [`Error::Name`] if no message can be sent there.
    pub fn named(text: &str) -> Result<Self, Error> {
        check(text, "a subject", false).map(|()| Self::of(text.into()))
    }

    fn of(text: Arc<str>) -> Self {
        Self { text, carries: PhantomData }
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn text(&self) -> Arc<str> {
        Arc::clone(&self.text)
    }
}

/// Agents to the metadata service: registration, heartbeats, how tracepoints stand.
pub fn update_agent() -> Subject<VizierMessage> {
    at(&Address::UpdateAgent)
}

/// Metadata service and broker to one agent.
pub fn agent(agent: AgentId) -> Subject<VizierMessage> {
    at(&Address::Agent(agent))
}

/// Changes of Kubernetes objects.
pub fn k8s_updates(selector: Selector) -> Subject<VizierMessage> {
    at(&Address::K8sUpdates(selector))
}

/// Agents that miss some of those changes.
pub fn missing_metadata_requests() -> Subject<VizierMessage> {
    at(&Address::MissingMetadataRequests)
}

/// Metrics of all processes.
pub fn metrics() -> Subject<MetricsMessage> {
    at(&Address::Metrics)
}

/// To the control plane.
pub fn v2c(topic: Topic) -> Subject<V2cMessage> {
    at(&Address::V2c(topic))
}

/// From the control plane.
pub fn c2v(topic: Topic) -> Subject<C2vMessage> {
    at(&Address::C2v(topic))
}

/// All that goes to the control plane: what the cloud connector listens to.
pub fn all_v2c() -> Pattern<V2cMessage> {
    Pattern::of(format!("{V2C}>").into())
}

/// All that comes from the control plane.
pub fn all_c2v() -> Pattern<C2vMessage> {
    Pattern::of(format!("{C2V}>").into())
}

fn at<T>(address: &Address) -> Subject<T> {
    Subject::of(address.to_string().into())
}

/// Where messages of type `T` are heard: a subject, or several. `*` stands for one token, `>` at the end for one or more.
pub struct Pattern<T> {
    text: Arc<str>,
    carries: PhantomData<fn(T) -> T>,
}

impl<T> Pattern<T> {
    /// Places that are none of [`Address`].
    ///
    /// # Errors
    /// [`Error::Name`] if it cannot be listened to.
    pub fn named(text: &str) -> Result<Self, Error> {
        check(text, "a pattern", true).map(|()| Self::of(text.into()))
    }

    fn of(text: Arc<str>) -> Self {
        Self { text, carries: PhantomData }
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn text(&self) -> Arc<str> {
        Arc::clone(&self.text)
    }
}

impl<T> From<Subject<T>> for Pattern<T> {
    fn from(subject: Subject<T>) -> Self {
        Self::of(subject.text)
    }
}

impl<T> From<&Subject<T>> for Pattern<T> {
    fn from(subject: &Subject<T>) -> Self {
        Self::of(subject.text())
    }
}

macro_rules! text_alone {
    ($name:ident) => {
        impl<T> Clone for $name<T> {
            fn clone(&self) -> Self {
                Self::of(Arc::clone(&self.text))
            }
        }

        impl<T> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($name)).field(&self.text).finish()
            }
        }

        impl<T> fmt::Display for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.text)
            }
        }
    };
}

text_alone!(Subject);
text_alone!(Pattern);

/// Whether a pattern covers a subject. Both are valid.
pub(crate) fn covers(pattern: &str, subject: &str) -> bool {
    let (mut wanted, mut tokens) = (pattern.split('.'), subject.split('.'));
    loop {
        match (wanted.next(), tokens.next()) {
            (None, None) | (Some(">"), Some(_)) => return true,
            (Some(want), Some(token)) if want == "*" || want == token => {}
            (Some(_), Some(_) | None) | (None, Some(_)) => return false,
        }
    }
}

/// Whether a pattern names one place only.
pub(crate) fn is_exact(pattern: &str) -> bool {
    pattern.split('.').all(|token| token != "*" && token != ">")
}

/// Holds a text to what every NATS server takes.
pub(crate) fn check(text: &str, what: &'static str, wildcards: bool) -> Result<(), Error> {
    if text.len() > SUBJECT_BYTES_MAX {
        return Err(refuse(&text[..text.floor_char_boundary(64)], what, "it is too long (the beginning is shown)"));
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(refuse(text, what, "it has spaces or control characters"));
    }
    let tokens: Vec<&str> = text.split('.').collect();
    for (at, token) in tokens.iter().enumerate() {
        match *token {
            "" => return Err(refuse(text, what, "a part of it is empty")),
            "*" if wildcards => {}
            ">" if wildcards && at + 1 == tokens.len() => {}
            token if token.contains(['*', '>']) => return Err(refuse(text, what, "a wildcard stands where none may")),
            _ => {}
        }
    }
    Ok(())
}

fn refuse(text: &str, what: &'static str, reason: &'static str) -> Error {
    Error::Name { text: text.to_owned(), what, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_cover_what_nats_says_they_do() {
        let cases = [
            ("a", "a", true),
            ("a", "b", false),
            ("a", "a.b", false),
            ("a.b", "a", false),
            ("*", "a", true),
            ("*", "a.b", false),
            ("a.*.c", "a.b.c", true),
            ("a.>", "a.b.c", true),
            ("a.>", "a", false),
            (">", "a.b", true),
            ("Agent/*", "Agent/1", false),
        ];
        for (pattern, subject, expected) in cases {
            assert_eq!(covers(pattern, subject), expected, "{pattern} {subject}");
        }
    }

    #[test]
    fn a_name_that_no_server_takes_is_refused_with_the_reason() {
        let reason = |text: &str| Subject::<VizierMessage>::named(text).unwrap_err().to_string();
        assert_eq!(reason("a b"), "`a b` cannot be a subject: it has spaces or control characters");
        assert_eq!(reason("a..b"), "`a..b` cannot be a subject: a part of it is empty");
        assert_eq!(reason(""), "`` cannot be a subject: a part of it is empty");
        assert_eq!(reason("a.*"), "`a.*` cannot be a subject: a wildcard stands where none may");
        assert!(reason(&"x".repeat(2000)).contains("too long"));
        assert!(Pattern::<VizierMessage>::named("a.*.>").is_ok());
        assert!(Pattern::<VizierMessage>::named("a.>.b").is_err());
        assert!(Pattern::<VizierMessage>::named("Agent/*").is_err());
    }

    #[test]
    fn places_have_the_names_that_the_original_gave_them() {
        let id = AgentId::from_halves(0x1122_3344_5566_7788, 0x99aa_bbcc_ddee_ff00);
        assert_eq!(agent(id).as_str(), "Agent/11223344-5566-7788-99aa-bbccddeeff00");
        assert_eq!(update_agent().as_str(), "UpdateAgent");
        assert_eq!(k8s_updates(Selector::All).as_str(), "K8sUpdates/all");
        assert_eq!(k8s_updates(Selector::Host("10.0.0.1".parse().unwrap())).as_str(), "K8sUpdates/10.0.0.1");
        assert_eq!(missing_metadata_requests().as_str(), "MissingMetadataRequests");
        assert_eq!(metrics().as_str(), "Metrics");
        assert_eq!(v2c(Topic::new("reply-7").unwrap()).as_str(), "v2c.reply-7");
        assert_eq!(c2v(Topic::new("GetCronScriptsResponse:x").unwrap()).as_str(), "c2v.GetCronScriptsResponse:x");
        assert_eq!((all_v2c().as_str(), all_c2v().as_str()), ("v2c.>", "c2v.>"));
    }
}
