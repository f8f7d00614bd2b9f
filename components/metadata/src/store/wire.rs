//! What is generated from `proto/etcd.proto`.

#![allow(
    missing_docs,
    unreachable_pub,
    dead_code,
    clippy::enum_variant_names,
    clippy::pedantic,
    clippy::wildcard_enum_match_arm,
    clippy::allow_attributes_without_reason,
    reason = "generated; documented in proto/etcd.proto"
)]

include!(concat!(env!("OUT_DIR"), "/etcdserverpb.rs"));
