//! A real receiver of OTLP for a test: it keeps what it gets.

#![allow(clippy::expect_used, reason = "a test that cannot have its receiver fails where it asks for one")]

mod receiver;

pub use receiver::{Conduct, Received, Receiver};
