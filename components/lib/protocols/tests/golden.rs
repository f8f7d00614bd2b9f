//! The pinned cases of golden/protocols.

use strategies::traffic::{Script, read, show};

#[test]
fn http_cases_are_read_as_expected() {
    golden::run("protocols/http", |case| {
        let script = Script::parse(&case.input("events.txt")?)?;
        case.expect("records.txt", &show(&read(&script)))
    });
}
