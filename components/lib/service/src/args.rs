use clap::{Args, ValueEnum};

/// What every service of ours can be told.
#[derive(Debug, Clone, Args)]
pub struct ServiceArgs {
    /// What to log: a level, or `target=level` directives separated by commas. Captured payloads appear at `trace` only.
    #[arg(long, env = "PX_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,

    /// How log lines look.
    #[arg(long, env = "PX_LOG_FORMAT", default_value = "text", value_name = "FORMAT")]
    pub log_format: LogFormat,

    /// How long a stopping service may take to finish what is running, in milliseconds; then it leaves.
    #[arg(long, env = "PX_SHUTDOWN_GRACE_MS", default_value_t = 5_000, value_name = "MS")]
    pub shutdown_grace_ms: u64,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}
