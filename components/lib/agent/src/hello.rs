//! Who is on the other side: said once, before gRPC begins.

use std::io;

use api::internal::{Hello, HelloReply};
use prost::Message;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// What TLS is told that the connection carries.
pub const DIAL_PROTOCOL: &str = "px-dial/1";

/// Bytes of a greeting: an id, a version, a reason.
const GREETING_BYTES_MAX: u16 = 1024;

pub(crate) async fn write_hello(io: &mut (impl AsyncWrite + Unpin), hello: &Hello) -> io::Result<()> {
    write(io, &hello.encode_to_vec()).await
}

pub(crate) async fn write_reply(io: &mut (impl AsyncWrite + Unpin), reply: &HelloReply) -> io::Result<()> {
    write(io, &reply.encode_to_vec()).await
}

pub(crate) async fn read_hello(io: &mut (impl AsyncRead + Unpin)) -> io::Result<Hello> {
    read(io).await
}

pub(crate) async fn read_reply(io: &mut (impl AsyncRead + Unpin)) -> io::Result<HelloReply> {
    read(io).await
}

async fn write(io: &mut (impl AsyncWrite + Unpin), message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).ok().filter(|length| *length <= GREETING_BYTES_MAX);
    let length = length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a greeting too long"))?;
    io.write_u16(length).await?;
    io.write_all(message).await?;
    io.flush().await
}

async fn read<M: Message + Default>(io: &mut (impl AsyncRead + Unpin)) -> io::Result<M> {
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what);
    let length = io.read_u16().await?;
    if length > GREETING_BYTES_MAX {
        return Err(wrong("a greeting too long"));
    }
    let mut message = vec![0; usize::from(length)];
    io.read_exact(&mut message).await?;
    M::decode(message.as_slice()).map_err(|_| wrong("not a greeting"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_greeting_reads_back() {
        let (mut here, mut there) = tokio::io::duplex(64);
        let hello = Hello { agent_id: vec![7; 16], plan_version: "v".repeat(500) };
        let (sent, got) = tokio::join!(write_hello(&mut here, &hello), read_hello(&mut there));
        sent.unwrap();
        assert_eq!(got.unwrap(), hello);
    }

    #[tokio::test]
    async fn what_is_no_greeting_is_refused_before_it_is_read() {
        for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0, 3, 255, 255, 255], &[0, 9, 1], &[]] {
            assert!(read_hello(&mut &bytes[..]).await.is_err(), "{bytes:?}");
        }
        let hello = Hello { agent_id: vec![7; 16], plan_version: "v".repeat(2000) };
        assert!(write_hello(&mut Vec::new(), &hello).await.is_err());
    }
}
