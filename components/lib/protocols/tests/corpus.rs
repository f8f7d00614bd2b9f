//! Replays the fuzz corpus; its seeds are the golden cases.

use std::cell::RefCell;

use strategies::{fuzz, traffic};

/// Longer seeds only slow the search.
const SEED_BYTES_MAX: usize = 4096;

#[test]
fn every_input_of_the_corpus_is_survived() {
    let seeds = RefCell::new(Vec::new());
    golden::run("protocols/http", |case| {
        case.uses("records.txt");
        let seed = fuzz::session_seed(&traffic::Script::parse(&case.input("events.txt")?)?);
        if seed.len() <= SEED_BYTES_MAX {
            seeds.borrow_mut().push((case.name().replace('/', "_"), seed));
        }
        Ok(())
    });
    fuzz::replay("session", &seeds.into_inner(), fuzz::session).unwrap();
}
