//! Every text that a fuzzer was given or found is compiled again.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::cell::RefCell;

use strategies::fuzz;

#[test]
fn every_text_of_the_corpus_is_survived() {
    let seeds = RefCell::new(Vec::new());
    for contract in ["pxl/ok", "pxl/mutations", "pxl/otel_scripts"] {
        golden::run(contract, |case| {
            let name = format!("golden_{}", case.name().replace('/', "_"));
            seeds.borrow_mut().push((name, case.input("script.pxl")?.into_bytes()));
            for other in case.files()? {
                case.uses(&other);
            }
            Ok(())
        });
    }
    let library = scripts::list().iter().map(|script| (format!("library_{}", script.name.replace('/', "_")), script.pxl.into()));
    seeds.borrow_mut().extend(library);
    let functions = funcs::registry(&funcs::Environment::default());
    fuzz::replay("pxl", &seeds.into_inner(), |data| pxl::survive(data, &functions)).unwrap();
}
