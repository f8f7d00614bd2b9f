//! Effects: the bus, the store, gRPC, time.

mod campaign;
pub(crate) mod grpc;
mod lease;
mod office;

pub(crate) use campaign::Campaign;
pub use campaign::StoreSource;
pub(crate) use lease::Cell;
pub(crate) use office::Handle;
