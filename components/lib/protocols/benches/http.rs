//! Records per second of a keep-alive connection, as its parser sees it.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ids::{Direction, MonoNs, Role, Upid};
use protocols::{Chunk, Protocol, Session, Sink, Start, infer};

const REQUEST: &[u8] = b"GET /api/v1/items?page=2&limit=50 HTTP/1.1\r\nHost: shop.example.org\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n\
    Accept: application/json\r\nAccept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\nX-Request-Id: 6f1e2d3c-aa55-4b1c-9f7e-0123456789ab\r\n\r\n";
const RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.24.0\r\nDate: Tue, 02 Jun 2026 10:00:00 GMT\r\nContent-Type: application/json\r\n\
    Content-Length: 27\r\nConnection: keep-alive\r\n\r\n{\"items\":[1,2,3],\"next\":3}\n";

fn keep_alive(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("http");
    group.throughput(Throughput::Elements(1));
    let chunk = |bytes, at| Chunk { bytes, at: MonoNs(at), process: Upid::NONE };
    group.bench_function("exchange", |bencher| {
        let Some(mut session) = Session::new(Protocol::Http, Role::Server, Start::Fresh) else { return };
        let (mut sink, mut at) = (Sink::default(), 0);
        bencher.iter(|| {
            at += 2;
            session.on_bytes(Direction::Received, chunk(REQUEST, at), MonoNs(at), &mut sink);
            session.on_bytes(Direction::Sent, chunk(RESPONSE, at + 1), MonoNs(at + 1), &mut sink);
            black_box(sink.records.pop_front())
        });
    });
    group.bench_function("exchange in calls of 64 bytes", |bencher| {
        let Some(mut session) = Session::new(Protocol::Http, Role::Server, Start::Fresh) else { return };
        let (mut sink, mut at) = (Sink::default(), 0);
        bencher.iter(|| {
            for (direction, message) in [(Direction::Received, REQUEST), (Direction::Sent, RESPONSE)] {
                for piece in message.chunks(64) {
                    at += 1;
                    session.on_bytes(direction, chunk(piece, at), MonoNs(at), &mut sink);
                }
            }
            black_box(sink.records.pop_front())
        });
    });
    group.bench_function("inference", |bencher| bencher.iter(|| black_box(infer(black_box(REQUEST)))));
    group.finish();
}

criterion_group!(benches, keep_alive);
criterion_main!(benches);
