//! Prints what the collectors deliver, for as many seconds as the first argument says; the second chooses the way: `a` or `b`.
#![allow(clippy::print_stdout, reason = "that is its purpose")]
use std::time::{Duration, Instant};

use collectors::{Collectors, Settings, WayChoice};

fn main() {
    let seconds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(10);
    let way = match std::env::args().nth(2).as_deref() {
        Some("a") => WayChoice::SocketLayer,
        Some("b") => WayChoice::CallExit,
        _ => WayChoice::Auto,
    };
    let started = Instant::now();
    let mut collectors = Collectors::start(&Settings { way, ..Settings::default() });
    println!("attached in {:?}", started.elapsed());
    for status in &collectors.statuses {
        println!("{status}");
    }
    let Some(source) = &mut collectors.source else { return };
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        if let Err(error) = source.read(Duration::from_millis(20), &mut |event| println!("{event:?}")) {
            println!("{error}");
            return;
        }
    }
    println!("{:?}", source.losses());
}
