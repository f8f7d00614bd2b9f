use std::path::PathBuf;

use clap::Parser;
use clap::builder::{StringValueParser, TypedValueParser as _};
use rpc::Part;
use service::{ServiceArgs, Settings};

/// Makes certificates for the parts of a Vizier, the key of their tokens, and a first API key. What is there and still good stays.
#[derive(Debug, Clone, Parser)]
#[command(name = "px-provision", version)]
pub struct Args {
    /// Folder for the files.
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,

    /// A part, and after `=` the names and addresses by which others reach it, with commas between them. Can be given often.
    #[arg(long = "part", value_name = "NAME[=HOST,…]", value_parser = StringValueParser::new().map(part))]
    pub parts: Vec<Part>,

    /// Add the names that parts have in this namespace of Kubernetes.
    #[arg(long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,

    /// The shell's part.
    #[command(flatten)]
    pub service: ServiceArgs,
}

impl Settings for Args {
    fn service(&self) -> &ServiceArgs {
        &self.service
    }
}

/// Names are judged where certificates are made.
#[allow(clippy::needless_pass_by_value, reason = "as clap hands it over")]
fn part(text: String) -> Part {
    let (name, names) = text.split_once('=').unwrap_or((&text, ""));
    let names = names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    Part { name: name.to_owned(), names }
}
