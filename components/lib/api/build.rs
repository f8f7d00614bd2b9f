//! Compiles the `.proto` files; no `protoc` is needed and nothing generated is kept.

use std::error::Error;
use std::path::PathBuf;

/// What is compiled; imports come along.
const FILES: [&str; 7] =
    ["cloudapi.proto", "cvmsgs.proto", "messages.proto", "metadata_service.proto", "prometheus.proto", "vizierapi.proto", "vzconn.proto"];

/// Between the parts of one Vizier: no contract with clients, so not in the descriptors that are given to them.
const INTERNAL: &str = "kelvin.proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true).open_files(FILES)?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("api.bin"), compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure()
        .bytes(".px.api.vizierpb.StringColumn.data")
        .bytes(".px.api.vizierpb.QueryData.encrypted_batch")
        .bytes(".px.vizier.messages.ExecuteQueryRequest.Output.logical_plan")
        .include_file("all.rs")
        .compile_fds(compiler.file_descriptor_set())?;
    let mut internal = protox::Compiler::new(["proto"])?;
    internal.include_imports(true).include_source_info(true).open_files([INTERNAL])?;
    tonic_prost_build::configure()
        .bytes(".px.vizier.internal.OutputRows")
        .skip_debug([".px.vizier.internal.ExportHeader"])
        .compile_fds(internal.file_descriptor_set())?;
    Ok(())
}
