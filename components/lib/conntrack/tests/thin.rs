//! The shortest way through.

use conntrack::{ConnTracker, Event, Limits, Opened, Output, Transfer, Verdict};
use ids::{Asid, Direction, MonoNs, Role, SocketId, Transport, Upid};
use protocols::Record;

#[test]
fn a_get_becomes_a_record() {
    let socket = SocketId { address: 1, opened: MonoNs(5), netns: 7 };
    let process = Upid::new(Asid(1), 2, 3);
    let mut tracker = ConnTracker::new(Limits::default());
    let opened = Opened {
        socket,
        endpoints: None,
        transport: Transport::Tcp,
        role: Role::Server,
        fresh: true,
        send_position: 1000,
        receive_position: u32::MAX - 3,
        process: None,
    };
    tracker.handle(&Event::Opened(opened), MonoNs(5));
    let transfer = |direction, call_position, at, bytes: &'static [u8]| {
        Event::Transfer(Transfer {
            socket,
            process,
            direction,
            at: MonoNs(at),
            call_position,
            call_bytes: bytes.len() as u32,
            offset: 0,
            bytes,
            last: true,
        })
    };
    tracker.handle(&transfer(Direction::Received, u32::MAX - 3, 10, b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"), MonoNs(10));
    tracker.handle(
        &transfer(Direction::Sent, 1000, 30, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nhi"),
        MonoNs(30),
    );
    assert_eq!(tracker.poll(), Some(Output::Verdict { socket, verdict: Verdict::Trace }));
    let Some(Output::Record { record: Record::Http(exchange), .. }) = tracker.poll() else { panic!() };
    assert_eq!((exchange.path.as_str(), exchange.status, exchange.resp_body.as_str(), exchange.latency.as_nanos()), ("/a", 200, "hi", 20));
    let rows = tracker.conn_stats(MonoNs(40));
    assert_eq!((rows.len(), rows[0].bytes_received, rows[0].bytes_sent, rows[0].conn_open), (1, 28, 66, 1));
    assert!(tracker.conn_stats(MonoNs(50)).is_empty());
}
