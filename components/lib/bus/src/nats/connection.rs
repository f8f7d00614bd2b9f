use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, HeaderMap, HeaderValue, Message, PublishErrorKind, Request, RequestErrorKind, Subscriber};
use bytes::Bytes;
use futures::StreamExt as _;
use tokio_util::task::AbortOnDropHandle;

use crate::error::Error;
use crate::link::Reason;
use crate::mailbox::{Letter, Mailbox};

/// The header with the name of the connection that sent a message.
const SENDER: &str = "Px-Sender";

/// A server that has not answered by then is one that lets us neither publish to nor subscribe `_INBOX.>`, or about to be given up.
const FLUSH_MAX: Duration = Duration::from_secs(10);

/// A client of async-nats that connects again for ever, and what watches over it.
#[derive(Debug)]
pub(crate) struct Connection {
    client: Client,
    sender: HeaderValue,
    _watchdog: AbortOnDropHandle<()>,
}

/// Moves a subscription's messages into its mailbox. Dropping it ends the subscription.
#[derive(Debug)]
pub(crate) struct Pump {
    _task: AbortOnDropHandle<()>,
}

impl Connection {
    pub(super) fn new(client: Client, sender: HeaderValue, watchdog: AbortOnDropHandle<()>) -> Self {
        Self { client, sender, _watchdog: watchdog }
    }

    pub(crate) fn payload_bytes_max(&self) -> usize {
        self.client.max_payload()
    }

    pub(crate) async fn send(&self, letter: Letter) -> Result<(), Error> {
        let Letter { subject, reply: _, sender: _, payload } = letter;
        let bytes = self.wire_bytes(&payload);
        let sent = self.client.publish_with_headers(subject.to_string(), self.headers(), payload).await;
        sent.map_err(|error| match error.kind() {
            PublishErrorKind::MaxPayloadExceeded => self.too_large(subject, bytes),
            PublishErrorKind::InvalidSubject => unsendable(&subject),
            PublishErrorKind::Send => Error::Closed,
        })
    }

    pub(crate) async fn request(&self, letter: Letter, deadline: Duration) -> Result<Bytes, Error> {
        let Letter { subject, reply: _, sender: _, payload } = letter;
        let bytes = self.wire_bytes(&payload);
        let request = Request::new().payload(payload).headers(self.headers()).timeout(Some(deadline));
        match self.client.send_request(subject.to_string(), request).await {
            Ok(answer) => Ok(answer.payload),
            Err(error) => Err(match error.kind() {
                RequestErrorKind::TimedOut => Error::Deadline { subject, after: deadline },
                RequestErrorKind::NoResponders => Error::NoResponder { subject },
                RequestErrorKind::InvalidSubject => unsendable(&subject),
                RequestErrorKind::MaxPayloadExceeded => self.too_large(subject, bytes),
                RequestErrorKind::Other => Error::Disconnected { reason: Reason::Lost },
            }),
        }
    }

    pub(crate) async fn subscribe(&self, pattern: &str, group: Option<&str>, mailbox: &Arc<Mailbox>) -> Result<Pump, Error> {
        let subscribed = match group {
            None => self.client.subscribe(pattern.to_owned()).await,
            Some(group) => self.client.queue_subscribe(pattern.to_owned(), group.to_owned()).await,
        };
        // Names were checked before: what is left is a client that has ended.
        let subscriber = subscribed.map_err(|_| Error::Closed)?;
        Ok(Pump { _task: AbortOnDropHandle::new(tokio::spawn(pump(subscriber, Arc::clone(mailbox)))) })
    }

    pub(crate) async fn flush(&self) -> Result<(), Error> {
        match tokio::time::timeout(FLUSH_MAX, round_trip(&self.client)).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::Disconnected { reason: Reason::Lost }),
            Err(_) => Err(Error::Deadline { subject: "_INBOX".into(), after: FLUSH_MAX }),
        }
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(SENDER, self.sender.clone());
        headers
    }

    /// What the server holds against its limit: the payload and the header.
    fn wire_bytes(&self, payload: &Bytes) -> usize {
        "NATS/1.0\r\n: \r\n\r\n".len() + SENDER.len() + self.sender.as_str().len() + payload.len()
    }

    fn too_large(&self, subject: Arc<str>, bytes: usize) -> Error {
        Error::TooLarge { subject, bytes, bytes_max: self.client.max_payload() }
    }
}

/// Whether the server has answered something that was sent after everything else: a question to nobody, which it refuses at once.
pub(super) async fn round_trip(client: &Client) -> bool {
    match client.request(client.new_inbox(), Bytes::new()).await {
        Ok(_) => true,
        Err(error) => error.kind() == RequestErrorKind::NoResponders,
    }
}

async fn pump(mut subscriber: Subscriber, mailbox: Arc<Mailbox>) {
    while let Some(message) = subscriber.next().await {
        mailbox.push(letter(message));
    }
    mailbox.close();
}

fn letter(message: Message) -> Letter {
    let sender = message.headers.as_ref().and_then(|headers| headers.get(SENDER)).map(|name| name.as_str().into());
    Letter {
        subject: message.subject.as_str().into(),
        sender,
        reply: message.reply.map(|reply| reply.as_str().into()),
        payload: message.payload,
    }
}

fn unsendable(subject: &Arc<str>) -> Error {
    Error::Name { text: subject.to_string(), what: "a subject", reason: "the server does not take it" }
}
