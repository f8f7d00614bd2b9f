//! Records per second of keep-alive connections, as socket events.

use std::hint::black_box;

use conntrack::{ConnTracker, Event, Limits, Opened, Transfer};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ids::{Asid, Direction, MonoNs, Role, SocketId, Transport, Upid};

const REQUEST: &[u8] = b"GET /api/v1/items?page=2&limit=50 HTTP/1.1\r\nHost: shop.example.org\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n\
    Accept: application/json\r\nAccept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\nX-Request-Id: 6f1e2d3c-aa55-4b1c-9f7e-0123456789ab\r\n\r\n";
const RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.24.0\r\nDate: Tue, 02 Jun 2026 10:00:00 GMT\r\nContent-Type: application/json\r\n\
    Content-Length: 27\r\nConnection: keep-alive\r\n\r\n{\"items\":[1,2,3],\"next\":3}\n";

/// As many as a busy node has.
const CONNECTIONS: u64 = 1000;

fn socket(number: u64) -> SocketId {
    SocketId { address: 0xffff_8880_0000_0000 + number * 0x940, opened: MonoNs(1), netns: 7 }
}

fn call(number: u64, direction: Direction, at: u64, call_position: u32, bytes: &[u8]) -> Event<'_> {
    let (socket, process, call_bytes) = (socket(number), Upid::new(Asid(1), 42, 100), bytes.len() as u32);
    Event::Transfer(Transfer { socket, process, direction, at: MonoNs(at), call_position, call_bytes, offset: 0, bytes, last: true })
}

fn keep_alive(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("tracker");
    group.throughput(Throughput::Elements(1));
    group.bench_function("exchange on one of 1000 connections", |bencher| {
        let mut tracker = ConnTracker::new(Limits::default());
        for number in 0..CONNECTIONS {
            let (transport, role) = (Transport::Tcp, Role::Server);
            let opened = Opened {
                socket: socket(number),
                endpoints: None,
                transport,
                role,
                fresh: true,
                send_position: 0,
                receive_position: 0,
                process: None,
            };
            tracker.handle(&Event::Opened(opened), MonoNs(1));
        }
        let (mut at, mut turn) = (2, 0_u64);
        bencher.iter(|| {
            let (number, round) = (turn % CONNECTIONS, (turn / CONNECTIONS) as u32);
            (turn, at) = (turn + 1, at + 2);
            let request = call(number, Direction::Received, at, round.wrapping_mul(REQUEST.len() as u32), REQUEST);
            let response = call(number, Direction::Sent, at + 1, round.wrapping_mul(RESPONSE.len() as u32), RESPONSE);
            tracker.handle(&request, MonoNs(at));
            tracker.handle(&response, MonoNs(at + 1));
            while let Some(output) = tracker.poll() {
                black_box(output);
            }
        });
        assert_eq!(tracker.metrics().parsers.records, turn);
    });
    group.finish();
}

criterion_group!(benches, keep_alive);
criterion_main!(benches);
