//! Any text as a script, against everything that compiles scripts.
#![no_main]

use std::sync::LazyLock;

static FUNCTIONS: LazyLock<pxl::FunctionRegistry> = LazyLock::new(|| funcs::registry(&funcs::Environment::default()));

libfuzzer_sys::fuzz_target!(|data: &[u8]| pxl::survive(data, &FUNCTIONS));
