use std::net::SocketAddr;

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampNanosecondType};
use conntrack::{Counters, Opened, Transfer};
use ids::{Asid, Direction, Transport};

use super::*;

const SERVER: Upid = Upid::NONE;

fn socket() -> SocketId {
    SocketId { address: 0xffff_8880_0000_1000, opened: MonoNs(100), netns: 4_026_531_840 }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn opened() -> Event<'static> {
    Event::Opened(Opened {
        socket: socket(),
        endpoints: Some(Endpoints { local: address("10.0.0.1:80"), remote: address("[2001:db8::1]:50000") }),
        transport: Transport::Tcp,
        role: Role::Server,
        fresh: true,
        send_position: 1_000,
        receive_position: 2_000,
        process: None,
    })
}

fn transfer(direction: Direction, position: u32, at: u64, bytes: &'static [u8]) -> Event<'static> {
    Event::Transfer(Transfer {
        socket: socket(),
        process: Upid::new(Asid(7), 42, 9),
        direction,
        at: MonoNs(at),
        call_position: position,
        call_bytes: bytes.len() as u32,
        offset: 0,
        bytes,
        last: true,
    })
}

/// One exchange through a pipeline whose wall clock is a million nanoseconds ahead.
fn pipeline() -> (Pipeline, Vec<(SocketId, Verdict)>) {
    let mut pipeline = Pipeline::new(SERVER, Clock::with_offset(1_000_000));
    let now = MonoNs(500);
    pipeline.socket_event(&opened(), now);
    pipeline.socket_event(&transfer(Direction::Received, 2_000, 300, b"GET /a?b HTTP/1.1\r\nHost: x\r\n\r\n"), now);
    pipeline.socket_event(
        &transfer(Direction::Sent, 1_000, 450, b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nnope"),
        now,
    );
    let mut verdicts = Vec::new();
    pipeline.tick(now, |socket, verdict| verdicts.push((socket, verdict)));
    (pipeline, verdicts)
}

fn flushed(pipeline: &mut Pipeline) -> Vec<(&'static str, RecordBatch)> {
    let mut batches = Vec::new();
    pipeline.flush(|table, batch| batches.push((table.name, batch)));
    batches
}

fn text<'a>(batch: &'a RecordBatch, column: &str) -> &'a str {
    batch.column_by_name(column).unwrap().as_string::<i32>().value(0)
}

fn int(batch: &RecordBatch, column: &str) -> i64 {
    batch.column_by_name(column).unwrap().as_primitive::<Int64Type>().value(0)
}

#[test]
fn an_exchange_becomes_a_row_and_its_connection_is_traced() {
    let (mut pipeline, verdicts) = pipeline();
    assert_eq!(verdicts, [(socket(), Verdict::Trace)]);
    let batches = flushed(&mut pipeline);
    let [("http_events", row)] = batches.as_slice() else { panic!("{batches:?}") };
    assert_eq!(row.schema().as_ref(), &tables::HTTP_EVENTS.arrow_schema());
    let time = row.column_by_name("time_").unwrap().as_primitive::<TimestampNanosecondType>().value(0);
    assert_eq!((time, int(row, "latency")), (1_000_450, 150));
    let upid = row.column_by_name("upid").unwrap().as_fixed_size_binary().value(0);
    assert_eq!(upid, Upid::new(Asid(7), 42, 9).to_be_bytes());
    assert_eq!((text(row, "remote_addr"), int(row, "remote_port")), ("2001:db8::1", 50_000));
    assert_eq!((text(row, "local_addr"), int(row, "local_port")), ("10.0.0.1", 80));
    assert_eq!((text(row, "req_method"), text(row, "req_path"), int(row, "trace_role")), ("GET", "/a?b", 2));
    assert_eq!((int(row, "resp_status"), text(row, "resp_message"), text(row, "resp_body")), (404, "Not Found", "nope"));
    assert_eq!((int(row, "resp_body_size"), int(row, "major_version"), int(row, "minor_version")), (4, 1, 1));
    assert!(flushed(&mut pipeline).is_empty(), "rows are handed over once");
}

#[test]
fn counters_of_the_kernel_become_conn_stats() {
    let (mut pipeline, _) = pipeline();
    let counters = Counters { bytes_sent: 90, bytes_received: 30 };
    pipeline.socket_event(&Event::Closed { socket: socket(), at: MonoNs(600), counters, process: None }, MonoNs(700));
    pipeline.conn_stats(MonoNs(1_000_000_000));
    let batches = flushed(&mut pipeline);
    let (_, row) = batches.iter().find(|(name, _)| *name == "conn_stats").unwrap();
    assert_eq!((int(row, "bytes_sent"), int(row, "bytes_recv"), int(row, "remote_port")), (90, 30, 0));
    assert_eq!((int(row, "conn_open"), int(row, "conn_close"), int(row, "conn_active")), (1, 1, 0));
    assert_eq!((int(row, "protocol"), int(row, "addr_family"), row.column(0).null_count()), (1, 2, 0));
}

#[test]
fn states_and_ends_become_rows_of_their_tables() {
    let (mut pipeline, _) = pipeline();
    pipeline.collector_status(MonoNs(1), "socket data", Status::ResourceUnavailable, "3 events lost", "{\"RingLostRecords\":3}");
    pipeline.probe_status(MonoNs(1), "process", "exec", Status::FailedPrecondition, "no hook");
    pipeline.process_exited(MonoNs(2), Upid::new(Asid(7), 1, 1), 3, 0, "sh");
    let names: Vec<_> = flushed(&mut pipeline).into_iter().map(|(name, batch)| (name, batch.num_rows())).collect();
    assert_eq!(names, [("http_events", 1), ("proc_exit_events", 1), ("stirling_error", 1), ("probe_status", 1)]);
}
