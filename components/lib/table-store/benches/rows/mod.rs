//! Rows of http_events as a node with a few services sees them: few processes, peers and endpoints; ids, dates and bodies that differ.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, FixedSizeBinaryBuilder, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray};

/// A small generator (splitmix64): the same rows in every run.
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

const PATHS: [&str; 8] =
    ["/healthz", "/api/v1/orders/", "/api/v1/users/", "/cart", "/static/app.js", "/search?q=", "/api/v1/items/", "/metrics"];
const WORDS: [&str; 12] =
    ["amber", "basalt", "cedar", "delta", "ember", "fjord", "granite", "harbor", "indigo", "juniper", "kelp", "lagoon"];

/// A batch of `rows` rows that start at `time` (ns) and follow each other by about a tenth of a millisecond.
pub fn http_events(random: &mut Random, time: i64, rows: usize) -> RecordBatch {
    let table = &tables::HTTP_EVENTS;
    let mut times = Vec::new();
    let mut upids = FixedSizeBinaryBuilder::new(16);
    let mut numbers: Vec<Vec<i64>> = vec![Vec::new(); table.columns.len()];
    let mut texts: Vec<Vec<String>> = vec![Vec::new(); table.columns.len()];
    for row in 0..rows {
        times.push(time + row as i64 * 100_000 + random.below(60_000) as i64);
        upids.append_value((0x1_0000_0000_u128 << 64 | u128::from(random.below(6) * 7_919)).to_be_bytes()).unwrap();
        let peer = random.below(40);
        let path = random.below(8) as usize;
        let (id, magnitude) = (random.next(), random.below(22));
        let status = if random.below(20) == 0 { 404 } else { 200 };
        let body = body(random, path);
        let mut text = |column: &str, value: String| texts[table.column_index(column).unwrap()].push(value);
        text("remote_addr", format!("10.244.{}.{}", peer % 3, peer));
        text("local_addr", "10.244.1.17".to_owned());
        text(
            "req_headers",
            format!(
                r#"{{"Host":"shop.example.svc:8080","User-Agent":"Go-http-client/1.1","Accept-Encoding":"gzip","X-Request-Id":"{id:016x}","Traceparent":"00-{:016x}{id:016x}-{:016x}-01"}}"#,
                random.next(),
                random.next()
            ),
        );
        text("req_method", if path == 3 { "POST" } else { "GET" }.to_owned());
        text(
            "req_path",
            match path {
                1 | 2 | 6 => format!("{}{}", PATHS[path], id % 5000),
                5 => format!("{}{}", PATHS[path], WORDS[id as usize % 12]),
                _ => PATHS[path].to_owned(),
            },
        );
        text("req_body", if path == 3 { format!(r#"{{"item":{},"count":{}}}"#, id % 900, id % 7) } else { String::new() });
        text(
            "resp_headers",
            format!(
                r#"{{"Content-Type":"application/json","Content-Length":"{}","Date":"Sun, 22 Nov 2026 18:{:02}:{:02} GMT","Server":"nginx/1.22.1"}}"#,
                body.len(),
                row / 6000 % 60,
                row / 100 % 60
            ),
        );
        text("resp_message", if status == 200 { "OK" } else { "Not Found" }.to_owned());
        let body_size = body.len() as i64;
        text("resp_body", body);
        let mut number = |column: &str, value: i64| numbers[table.column_index(column).unwrap()].push(value);
        number("remote_port", 32_768 + random.below(28_000) as i64);
        number("local_port", 8080);
        number("trace_role", 2);
        number("major_version", 1);
        number("minor_version", 1);
        number("content_type", 1);
        number("req_body_size", if path == 3 { 22 } else { 0 });
        number("resp_status", status);
        number("resp_body_size", body_size);
        number("latency", 150_000 + random.below(1 << magnitude) as i64);
    }
    let upids: ArrayRef = Arc::new(upids.finish());
    let times: ArrayRef = Arc::new(TimestampNanosecondArray::from(times));
    let columns = table.columns.iter().zip(numbers.into_iter().zip(texts)).map(|(column, (numbers, texts))| match column.data_type {
        tables::DataType::Time64Ns => Arc::clone(&times),
        tables::DataType::Uint128 => Arc::clone(&upids),
        tables::DataType::Boolean => Arc::new(BooleanArray::from(vec![false; rows])),
        tables::DataType::String => Arc::new(StringArray::from(texts)),
        tables::DataType::Int64 | tables::DataType::Float64 => Arc::new(Int64Array::from(numbers)),
    });
    RecordBatch::try_new(Arc::new(table.arrow_schema()), columns.collect()).unwrap()
}

fn body(random: &mut Random, path: usize) -> String {
    if path == 0 {
        return r#"{"status":"ok"}"#.to_owned();
    }
    let mut body = String::from("[");
    for _ in 0..random.below(9) {
        let word = WORDS[random.below(12) as usize];
        let _ = write!(
            body,
            r#"{{"id":{},"name":"{word} {}","price":{}.{:02}}},"#,
            random.below(100_000),
            WORDS[random.below(12) as usize],
            random.below(300),
            random.below(100)
        );
    }
    body.push(']');
    body.truncate(512);
    body
}
