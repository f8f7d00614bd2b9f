use std::path::PathBuf;

use clap::Args;

use crate::{Credentials, Error, Nats, Secret, TlsFiles};

/// How the bus is reached.
#[derive(Debug, Clone, Args)]
pub struct NatsArgs {
    /// NATS servers: host, host:port or nats://host:port, several with commas between them.
    #[arg(long, env = "PX_NATS_URL", value_name = "URL")]
    pub nats_url: String,

    /// Speak to NATS without TLS. For a server on the same machine only: whoever reads along sees what agents and services say.
    #[arg(long, env = "PX_NATS_PLAINTEXT")]
    pub nats_plaintext: bool,

    /// User that NATS asks for.
    #[arg(long, env = "PX_NATS_USER", value_name = "NAME", requires = "nats_password_file")]
    pub nats_user: Option<String>,

    /// File with that user's password.
    #[arg(long, env = "PX_NATS_PASSWORD_FILE", value_name = "FILE", requires = "nats_user")]
    pub nats_password_file: Option<PathBuf>,

    /// File with the token that NATS asks for.
    #[arg(long, env = "PX_NATS_TOKEN_FILE", value_name = "FILE", conflicts_with = "nats_user")]
    pub nats_token_file: Option<PathBuf>,
}

impl NatsArgs {
    /// The settings of a connection with this name. `tls`: what this part shows to others, here the server.
    ///
    /// # Errors
    /// A file with a secret cannot be read.
    pub fn settings(&self, name: &str, tls: TlsFiles) -> Result<Nats, Error> {
        let mut nats = Nats::new(&self.nats_url, name);
        nats.tls = (!self.nats_plaintext).then_some(tls);
        nats.credentials = match (&self.nats_token_file, &self.nats_user, &self.nats_password_file) {
            (Some(file), _, _) => Credentials::Token(secret("token", file)?),
            (None, Some(name), Some(file)) => Credentials::User { name: name.clone(), password: secret("password", file)? },
            (None, _, _) => Credentials::None,
        };
        Ok(nats)
    }
}

/// What a file holds, without the white space at its end.
fn secret(what: &'static str, path: &PathBuf) -> Result<Secret, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::File { what, path: path.clone(), source })?;
    Ok(Secret::new(text.trim_end()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Arguments {
        #[command(flatten)]
        nats: NatsArgs,
    }

    fn tls() -> TlsFiles {
        TlsFiles { ca: "ca.crt".into(), certificate: "pem.crt".into(), key: "pem.key".into() }
    }

    fn settings(words: &[&str]) -> Result<Nats, Error> {
        Arguments::parse_from([&["x", "--nats-url", "pl-nats"], words].concat()).nats.settings("pem", tls())
    }

    #[test]
    fn tls_is_on_unless_it_is_refused() {
        assert_eq!(settings(&[]).unwrap().tls, Some(tls()));
        assert_eq!(settings(&["--nats-plaintext"]).unwrap().tls, None);
    }

    #[test]
    fn secrets_come_from_files() {
        // Any file with a text does.
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let text = Secret::new(include_str!("../Cargo.toml").trim_end());
        assert_eq!(settings(&["--nats-token-file", manifest]).unwrap().credentials, Credentials::Token(text.clone()));
        let user = settings(&["--nats-user", "u", "--nats-password-file", manifest]).unwrap().credentials;
        assert_eq!(user, Credentials::User { name: "u".to_owned(), password: text });
        assert_eq!(settings(&["--nats-token-file", "/nowhere"]).unwrap_err().to_string(), "cannot read the token /nowhere");
        assert!(Arguments::try_parse_from(["x", "--nats-url", "n", "--nats-user", "u"]).is_err());
    }
}
