//! Compiles the `.proto` files; no `protoc` is needed and nothing generated is kept.

use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    const INTERNAL: &str = "kelvin.proto";
    const FILES: [&str; 3] = ["uuid.proto", "vizierapi.proto", "cloudapi.proto"];
    for file in FILES {
        println!("cargo::rerun-if-changed=proto/{file}");
    }
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true).open_files(FILES)?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("api.bin"), compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure()
        .bytes(".px.api.vizierpb.StringColumn.data")
        .bytes(".px.api.vizierpb.QueryData.encrypted_batch")
        .compile_fds(compiler.file_descriptor_set())?;
    // Between the parts of one Vizier: no contract with clients, so not in the descriptors that are given to them.
    println!("cargo::rerun-if-changed=proto/{INTERNAL}");
    let mut internal = protox::Compiler::new(["proto"])?;
    internal.include_imports(true).include_source_info(true).open_files([INTERNAL])?;
    tonic_prost_build::configure().bytes(".px.vizier.internal.OutputRows").compile_fds(internal.file_descriptor_set())?;
    Ok(())
}
