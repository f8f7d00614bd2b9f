//! The protobuf messages and gRPC services, generated from `proto/*.proto` when this crate is built.
//!
//! ```text
//! vizierpb · cloudapi · uuidpb      what clients know
//! vizier · carnot · shared · …      what agents, metadata service and broker say to each other
//! cvmsgspb · services               what a Vizier and its control plane say to each other
//! ```
//!
//! Wire-compatible by field number with the clients and servers that are published; `golden/api` pins names, numbers and encodings.
//! Modules are nested as the packages are, since generated code refers to its neighbours by path.

/// A gRPC message may not be larger, either way. Reference: the broker's receive size.
pub const MESSAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Descriptors of all messages and services: an encoded `google.protobuf.FileDescriptorSet`.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/api.bin"));

mod generated {
    #![allow(
        missing_docs,
        unreachable_pub,
        clippy::pedantic,
        clippy::allow_attributes_without_reason,
        clippy::large_enum_variant,
        clippy::wildcard_enum_match_arm,
        reason = "generated; documented in proto"
    )]
    include!(concat!(env!("OUT_DIR"), "/all.rs"));
}

#[doc(inline)]
pub use generated::prometheus;
#[doc(inline)]
pub use generated::px::api::vizierpb;
#[doc(inline)]
pub use generated::px::{carnot, cloudapi, cvmsgspb, services, shared, statuspb, table_store, types, uuidpb, vizier};

/// Between the parts of one Vizier: `px.vizier.internal`. No contract with clients.
pub mod internal {
    #![allow(
        missing_docs,
        unreachable_pub,
        clippy::pedantic,
        clippy::wildcard_enum_match_arm,
        clippy::allow_attributes_without_reason,
        reason = "generated; documented in proto/kelvin.proto"
    )]
    include!(concat!(env!("OUT_DIR"), "/px.vizier.internal.rs"));

    /// The value may be a key.
    impl std::fmt::Debug for ExportHeader {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.debug_struct("ExportHeader").field("name", &self.name).finish_non_exhaustive()
        }
    }
}
