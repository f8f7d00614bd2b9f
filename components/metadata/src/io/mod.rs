//! Effects: the bus, the store, gRPC, time.

mod campaign;
pub(crate) mod grpc;
mod kubernetes;
mod lease;
mod office;

pub(crate) use campaign::Campaign;
pub use campaign::StoreSource;
pub use kubernetes::Kubernetes;
pub(crate) use kubernetes::Told;
pub(crate) use office::Handle;
