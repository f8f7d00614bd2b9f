//! What holds for every input.

use ids::{Direction, MonoNs, Role, Upid};
use proptest::prelude::*;
use protocols::http::limits::{BODY_KEPT_BYTES_MAX, HEAD_BYTES_MAX, HELD_BYTES_MAX, REQUESTS_WAITING_MAX};
use protocols::{Chunk, Protocol, Record, Session, Sink, Start};
use strategies::cuts::{Cuts, Losses, cut_calls};
use strategies::http::{Conversation, fields, markers, noise};
use strategies::traffic::{Script, read};

/// What one direction's unread head, its copy while it is asked about, what is held for the other, and the waiting requests may take.
const MEMORY_BYTES_MAX: usize = 4 * HEAD_BYTES_MAX + HELD_BYTES_MAX + 64 * 1024 + REQUESTS_WAITING_MAX * (12 * 1024 + BODY_KEPT_BYTES_MAX);

proptest! {
    #[test]
    fn what_is_rendered_is_read_back(conversation in Conversation::any()) {
        let reading = read(&conversation.script());
        let expected: Vec<_> = conversation.pairs().map(strategies::http::Pair::expected).collect();
        let actual: Vec<_> = reading.records.iter().map(|Record::Http(exchange)| fields(exchange)).collect();
        prop_assert_eq!(actual, expected);
    }

    #[test]
    fn any_split_of_the_bytes_gives_the_same_records(conversation in Conversation::any(), cuts in Cuts::any()) {
        let script = conversation.script();
        let (whole, cut) = (read(&script), read(&cut_calls(&script, &cuts)));
        prop_assert_eq!((whole.records, whole.counters), (cut.records, cut.counters));
    }

    #[test]
    fn a_loss_never_mixes_two_exchanges(conversation in Conversation::any(), cuts in Cuts::any(), whole in any::<bool>(), losses in Losses::any()) {
        let script = conversation.script();
        let script = losses.apply(&if whole { script } else { cut_calls(&script, &cuts) });
        for Record::Http(exchange) in read(&script).records {
            prop_assert_eq!(markers(&exchange).len(), 1, "{:?}", exchange);
        }
    }

    #[test]
    fn no_input_panics_or_takes_more_memory_than_its_limit(
        steps in prop::collection::vec((any::<bool>(), noise(), 0..40_u8, 0..2_000_000_u64), 0..60), client in any::<bool>(), fresh in any::<bool>()
    ) {
        let (role, start) = (if client { Role::Client } else { Role::Server }, if fresh { Start::Fresh } else { Start::Midstream });
        let (mut sink, mut now) = (Sink::default(), MonoNs(0));
        let mut session = Session::new(Protocol::Http, role, start).unwrap();
        for (sent, bytes, action, pause) in &steps {
            now = MonoNs(now.0 + pause);
            let direction = if *sent { Direction::Sent } else { Direction::Received };
            match action {
                0 => session.on_gap(direction, *pause, None, now, &mut sink),
                1 => session.on_gap(direction, bytes.len() as u64, Some(now), now, &mut sink),
                2 => session.tick(MonoNs(now.0 + 200_000_000), &mut sink),
                3 => session.on_end(now, &mut sink),
                4 => session.on_gap(direction, u64::MAX, None, now, &mut sink),
                _ => session.on_bytes(direction, Chunk { bytes, at: now, process: Upid::NONE }, now, &mut sink),
            }
            prop_assert!(session.memory_bytes() <= MEMORY_BYTES_MAX);
        }
        session.on_end(now, &mut sink);
    }
}

#[test]
fn bytes_without_an_end_take_no_more_memory_than_their_limit() {
    for piece in [
        &b"GET / HTTP/1.1\r\nX: y\r\n"[..],
        b"GET GET GET ",
        b"\x00\xff\x17",
        b"HTTP/1.1 200 OK\r\nA: b\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n",
    ] {
        for start in [Start::Fresh, Start::Midstream] {
            let (mut sink, bytes) = (Sink::default(), piece.repeat(30_000 / piece.len()));
            let mut session = Session::new(Protocol::Http, Role::Server, start).unwrap();
            for at in 0..100 {
                for direction in [Direction::Received, Direction::Sent] {
                    session.on_bytes(direction, Chunk { bytes: &bytes, at: MonoNs(at), process: Upid::NONE }, MonoNs(at), &mut sink);
                    assert!(session.memory_bytes() <= MEMORY_BYTES_MAX, "{} {}", String::from_utf8_lossy(piece), session.memory_bytes());
                }
            }
        }
    }
}

#[test]
fn fields_that_came_before_mean_the_same_again() {
    let mut session = Session::new(Protocol::Http, Role::Server, Start::Fresh).unwrap();
    let (mut sink, mut at) = (Sink::default(), 0);
    let mut exchange = |request: &str, response: &str| {
        for (direction, bytes) in [(Direction::Received, request), (Direction::Sent, response)] {
            at += 1;
            let chunk = Chunk { bytes: bytes.as_bytes(), at: MonoNs(at), process: Upid::NONE };
            session.on_bytes(direction, chunk, MonoNs(at), &mut sink);
        }
        let protocols::Record::Http(exchange) = sink.records.pop_front().expect("an exchange");
        (exchange.req_headers, exchange.req_body, exchange.resp_headers, exchange.resp_body, exchange.status, exchange.path)
    };
    for turn in 0..4 {
        // Other first lines, other bodies; of the same fields a request makes other things than a response.
        for (fields, body) in
            [("Content-Length: 3\r\nb: 1\r\nA: \"2\"\r\n", "abc"), ("Transfer-Encoding: chunked\r\n", "1\r\nz\r\n0\r\n\r\n")]
        {
            let status = 200 + turn;
            let told =
                exchange(&format!("POST /{turn} HTTP/1.1\r\n{fields}\r\n{body}"), &format!("HTTP/1.1 {status} OK\r\n{fields}\r\n{body}"));
            let (headers, shown) = match body {
                "abc" => (r#"{"A":"\"2\"","b":"1","Content-Length":"3"}"#, "abc"),
                _ => (r#"{"Transfer-Encoding":"chunked"}"#, "z"),
            };
            let unknown = "<removed: unknown content-type>";
            let expected = (headers, shown, headers, unknown, status, format!("/{turn}"));
            assert_eq!((&*told.0, &*told.1, &*told.2, &*told.3, told.4, told.5), expected);
        }
    }
}

#[test]
fn a_script_of_nothing_is_refused() {
    assert!(Script::parse("# nothing\n").is_err());
}
