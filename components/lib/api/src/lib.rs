//! The public API's protobuf messages and gRPC services, generated from `proto/*.proto` when this crate is built.
//!
//! Wire-compatible by field number with the clients that are published; `golden/api` pins names, numbers and encodings.

/// A gRPC message may not be larger, either way. Reference: the broker's receive size.
pub const MESSAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Descriptors of all messages and services: an encoded `google.protobuf.FileDescriptorSet`.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/api.bin"));

/// Identifiers.
pub mod uuidpb {
    #![allow(missing_docs, unreachable_pub, clippy::pedantic, reason = "generated; documented in proto/uuid.proto")]
    include!(concat!(env!("OUT_DIR"), "/px.uuidpb.rs"));
}

/// Running scripts: `px.api.vizierpb`.
pub mod vizierpb {
    #![allow(
        missing_docs,
        unreachable_pub,
        clippy::pedantic,
        clippy::wildcard_enum_match_arm,
        clippy::allow_attributes_without_reason,
        reason = "generated; documented in proto/vizierapi.proto"
    )]
    include!(concat!(env!("OUT_DIR"), "/px.api.vizierpb.rs"));
}

/// Listing clusters: `px.cloudapi`.
pub mod cloudapi {
    #![allow(
        missing_docs,
        unreachable_pub,
        clippy::pedantic,
        clippy::wildcard_enum_match_arm,
        clippy::allow_attributes_without_reason,
        reason = "generated; documented in proto/cloudapi.proto"
    )]
    include!(concat!(env!("OUT_DIR"), "/px.cloudapi.rs"));
}

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
}
