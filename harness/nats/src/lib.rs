//! A real nats-server for a test.

mod certificates;
mod server;

pub use certificates::{Certificates, Files};
pub use server::{NatsServer, Setup};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
