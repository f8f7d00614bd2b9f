//! The pinned cases of golden/conntrack.

use strategies::kernel::{Script, run};

#[test]
fn events_become_records_verdicts_and_counters_as_expected() {
    golden::run("conntrack", |case| {
        let script = Script::parse(&case.input("events.txt")?)?;
        case.expect("outputs.txt", &run(&script))
    });
}
