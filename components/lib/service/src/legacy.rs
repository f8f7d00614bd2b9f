use clap::{Command, Parser};

/// A variable of the original's that has a successor here. Read where neither flag nor our own variable is given, with a warning.
#[derive(Debug, Clone, Copy)]
pub struct LegacyVariable {
    /// The original's name.
    pub theirs: &'static str,
    /// The flag that takes its value, as clap names it.
    pub flag: &'static str,
    /// From their unit to ours; `None` where the text is no value.
    convert: fn(&str) -> Option<String>,
}

const MIB: u64 = 1024 * 1024;

impl LegacyVariable {
    /// The same text under another name.
    const fn same(theirs: &'static str, flag: &'static str) -> Self {
        Self { theirs, flag, convert: |text| Some(text.to_owned()).filter(|text| !text.is_empty()) }
    }
}

/// All of them. Of two for one flag the later wins: where a service had a certificate for each direction, its server's is ours for both.
pub const LEGACY_VARIABLES: &[LegacyVariable] = &[
    LegacyVariable {
        theirs: "PL_TABLE_STORE_DATA_LIMIT_MB",
        flag: "table_store_bytes_max",
        convert: |text| text.parse::<u64>().ok()?.checked_mul(MIB).map(|bytes| bytes.to_string()),
    },
    LegacyVariable {
        theirs: "PL_TABLE_STORE_HTTP_EVENTS_PERCENT",
        flag: "table_store_http_events_percent",
        convert: |text| text.parse::<u8>().ok().map(|percent| percent.to_string()),
    },
    LegacyVariable {
        theirs: "PL_METRICS_HTTP_PORT",
        flag: "http_listen",
        convert: |text| text.parse::<u16>().ok().map(|port| format!("0.0.0.0:{port}")),
    },
    LegacyVariable::same("PL_NATS_URL", "nats_url"),
    LegacyVariable::same("PL_JWT_SIGNING_KEY", "jwt_signing_key"),
    LegacyVariable::same("PL_TLS_CA_CERT", "tls_ca_cert"),
    LegacyVariable::same("PL_CLIENT_TLS_CERT", "tls_cert"),
    LegacyVariable::same("PL_CLIENT_TLS_KEY", "tls_key"),
    LegacyVariable::same("PL_SERVER_TLS_CERT", "tls_cert"),
    LegacyVariable::same("PL_SERVER_TLS_KEY", "tls_key"),
    LegacyVariable::same("PL_POD_NAME", "pod_name"),
    LegacyVariable::same("PL_POD_NAMESPACE", "pod_namespace"),
    LegacyVariable::same("PL_HOST_IP", "host_ip"),
    LegacyVariable::same("PL_POD_IP", "pod_ip"),
    LegacyVariable::same("PL_MD_ETCD_SERVER", "etcd_endpoints"),
    LegacyVariable::same("PL_CLOUD_ADDR", "cloud_addr"),
    LegacyVariable::same("PL_CLUSTER_ID", "cluster_id"),
    LegacyVariable::same("PL_CLUSTER_NAME", "cluster_name"),
    LegacyVariable::same("PL_DEPLOY_KEY", "deploy_key"),
];

/// Parses the process's arguments. Values come from flags, else from our variables, else from the original's, else from defaults.
///
/// Ends the process with clap's message where the arguments are wrong.
pub fn parse<A: Parser>() -> A {
    let (command, warnings) = with_legacy(A::command(), &|name| std::env::var(name).ok());
    for warning in warnings {
        eprintln!("{warning}");
    }
    let matches = command.get_matches();
    A::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// The command with the original's values as defaults, and what to say about them. Pure: `get` reads a variable.
fn with_legacy(mut command: Command, get: &dyn Fn(&str) -> Option<String>) -> (Command, Vec<String>) {
    let mut warnings = Vec::new();
    for variable in LEGACY_VARIABLES {
        let Some(text) = get(variable.theirs) else { continue };
        let Some(value) = (variable.convert)(&text) else {
            warnings.push(format!("warning: {}={text} is not understood and ignored", variable.theirs));
            continue;
        };
        let mut taken = false;
        command = set_default(command, variable.flag, &value, &mut taken);
        if taken {
            warnings.push(format!("warning: {} is read for now; the flag is --{}", variable.theirs, variable.flag.replace('_', "-")));
        }
    }
    (command, warnings)
}

fn set_default(command: Command, flag: &'static str, value: &str, taken: &mut bool) -> Command {
    let command = if command.get_arguments().any(|argument| argument.get_id() == flag) {
        *taken = true;
        // It may be a secret, and help shows defaults.
        command.mut_arg(flag, |argument| argument.required(false).default_value(value.to_owned()).hide_default_value(true))
    } else {
        command
    };
    command.mut_subcommands(|sub| set_default(sub, flag, value, taken))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Parser)]
    struct Outer {
        #[command(subcommand)]
        inner: Inner,
    }

    #[derive(Debug, clap::Subcommand)]
    enum Inner {
        Run {
            #[arg(long, default_value_t = 7)]
            table_store_bytes_max: u64,
        },
    }

    fn bytes(arguments: &[&str], theirs: Option<&str>) -> (u64, Vec<String>) {
        let get = |name: &str| (name == "PL_TABLE_STORE_DATA_LIMIT_MB").then(|| theirs.map(str::to_owned)).flatten();
        let (command, warnings) = with_legacy(<Outer as clap::CommandFactory>::command(), &get);
        let matches = command.get_matches_from(arguments);
        let outer = <Outer as clap::FromArgMatches>::from_arg_matches(&matches).unwrap();
        let Inner::Run { table_store_bytes_max } = outer.inner;
        (table_store_bytes_max, warnings)
    }

    #[test]
    fn theirs_is_converted_and_ours_wins() {
        assert_eq!(bytes(&["vizier", "run"], None), (7, vec![]));
        let (value, warnings) = bytes(&["vizier", "run"], Some("2"));
        assert_eq!(value, 2 * MIB);
        insta::assert_snapshot!(warnings.join("\n"), @"warning: PL_TABLE_STORE_DATA_LIMIT_MB is read for now; the flag is --table-store-bytes-max");
        assert_eq!(bytes(&["vizier", "run", "--table-store-bytes-max", "9"], Some("2")).0, 9);
    }

    #[derive(Debug, Parser)]
    struct Required {
        #[arg(long)]
        tls_cert: String,
        #[command(flatten)]
        http: crate::HttpArgs,
    }

    fn required(theirs: &[(&str, &str)]) -> Required {
        let get = |name: &str| theirs.iter().find(|(theirs, _)| *theirs == name).map(|(_, text)| (*text).to_owned());
        let (command, _) = with_legacy(<Required as clap::CommandFactory>::command(), &get);
        <Required as clap::FromArgMatches>::from_arg_matches(&command.get_matches_from(["x"])).unwrap()
    }

    #[test]
    fn theirs_is_enough_where_a_flag_is_required_and_the_servers_certificate_is_for_both_directions() {
        let read = required(&[("PL_CLIENT_TLS_CERT", "client.crt"), ("PL_METRICS_HTTP_PORT", "50401")]);
        assert_eq!((read.tls_cert.as_str(), read.http.http_listen), ("client.crt", Some("0.0.0.0:50401".parse().unwrap())));
        let read = required(&[("PL_CLIENT_TLS_CERT", "client.crt"), ("PL_SERVER_TLS_CERT", "server.crt")]);
        assert_eq!(read.tls_cert, "server.crt");
    }

    #[test]
    fn a_value_that_is_none_is_said_and_ignored() {
        let (value, warnings) = bytes(&["vizier", "run"], Some("much"));
        assert_eq!(value, 7);
        insta::assert_snapshot!(warnings.join("\n"), @"warning: PL_TABLE_STORE_DATA_LIMIT_MB=much is not understood and ignored");
    }
}
