//! The worlds of two hundred seeds, and one of them twice.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

/// Worlds that continuous integration looks at; `ci/sim --seeds N` looks at more.
const SEEDS: u64 = 200;

#[test]
fn whatever_happens_what_must_hold_holds() {
    // Two at a time, as the machine has two processors; a world is one thread.
    let halves: Vec<_> = (0..2).map(|half| std::thread::spawn(move || (half..SEEDS).step_by(2).find_map(failure))).collect();
    let failures: Vec<String> = halves.into_iter().filter_map(|half| half.join().unwrap()).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

fn failure(seed: u64) -> Option<String> {
    let told = harness_sim::tell(seed).unwrap();
    let error = told.outcome.err()?;
    Some(format!("seed {seed}: {error:#}\n{}\nagain: ci/sim --first {seed} --seeds 1", told.trace.join("\n")))
}

#[test]
fn the_same_seed_is_the_same_story() {
    for seed in [3, 17] {
        assert_eq!(harness_sim::tell(seed).unwrap().trace, harness_sim::tell(seed).unwrap().trace);
    }
}
