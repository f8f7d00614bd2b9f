//! Replays the fuzz corpus; its seeds are the golden cases.

use std::cell::RefCell;

use strategies::{fuzz, kernel};

/// Longer seeds only slow the search.
const SEED_BYTES_MAX: usize = 4096;

#[test]
fn every_input_of_the_corpus_is_survived() {
    let seeds = RefCell::new(Vec::new());
    golden::run("conntrack", |case| {
        case.uses("outputs.txt");
        let seed = fuzz::tracker_seed(&kernel::Script::parse(&case.input("events.txt")?)?);
        if seed.len() <= SEED_BYTES_MAX {
            seeds.borrow_mut().push((case.name().replace('/', "_"), seed));
        }
        Ok(())
    });
    fuzz::replay("tracker", &seeds.into_inner(), fuzz::tracker).unwrap();
}
