use std::net::IpAddr;

use clap::Args;

use crate::host;
use crate::life::Profile;

/// Where an agent runs, as it says itself.
#[derive(Debug, Clone, Default, Args)]
pub struct NodeArgs {
    /// Name of the machine; by default the system's. Together with its address it is the agent's place: who comes back to it has the same id
    /// and number again.
    #[arg(long, env = "PX_HOSTNAME", value_name = "NAME")]
    pub hostname: Option<String>,

    /// Address of the machine; by default the one from which it reaches others.
    #[arg(long, env = "PX_HOST_IP", value_name = "IP")]
    pub host_ip: Option<IpAddr>,

    /// Name of the agent's pod, as namespace/name. Outside of Kubernetes whatever tells it from others on the machine.
    #[arg(long, env = "PX_POD_NAME", default_value = "", value_name = "NAME")]
    pub pod_name: String,
}

impl NodeArgs {
    /// The machine's name.
    pub fn hostname(&self) -> String {
        self.hostname.clone().unwrap_or_else(host::hostname)
    }

    /// The machine's address.
    pub fn host_ip(&self) -> IpAddr {
        self.host_ip.unwrap_or_else(host::address)
    }

    /// What is the same for every agent of this machine.
    pub fn profile(&self) -> Profile {
        let host_ip = self.host_ip().to_string();
        Profile {
            hostname: self.hostname(),
            pod_name: self.pod_name.clone(),
            ip_address: host_ip.clone(),
            host_ip,
            kernel: host::kernel(),
            // Nothing samples stacks yet.
            profiler_period_ms: -1,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..Profile::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_goes_before_what_the_system_says() {
        let args = NodeArgs { hostname: Some("n1".to_owned()), host_ip: "10.1.2.3".parse().ok(), pod_name: "pl/vizier-pem-x".to_owned() };
        let profile = args.profile();
        assert_eq!((profile.hostname.as_str(), profile.host_ip.as_str(), profile.ip_address.as_str()), ("n1", "10.1.2.3", "10.1.2.3"));
        let profile = NodeArgs::default().profile();
        assert!(profile.host_ip.parse::<IpAddr>().is_ok());
        assert_eq!(profile.hostname, host::hostname());
    }
}
