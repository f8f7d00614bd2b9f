//! What the machine says of itself.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::Path;

use crate::life::Kernel;

/// The running kernel, as far as `/proc` tells.
pub fn kernel() -> Kernel {
    let read = |path: &str| std::fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
    let release = read("/proc/sys/kernel/osrelease");
    let (version, major, minor) = numbers(&release);
    let headers_installed = Path::new("/lib/modules").join(&release).join("build/include").exists() && !release.is_empty();
    Kernel { version, major, minor, headers_installed, boot_id: read("/proc/sys/kernel/random/boot_id"), release }
}

/// The machine's name; empty if there is none.
pub fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned()).unwrap_or_default()
}

/// The address from which this machine reaches others; loopback if it reaches nobody.
pub fn address() -> IpAddr {
    // Nothing is sent: the system chooses the route and with it the address. 192.0.2.0/24 is nobody's (RFC 5737).
    let chosen = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        socket.local_addr()
    });
    chosen.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip())
}

/// Processors that this process may use.
pub fn cpus() -> u32 {
    std::thread::available_parallelism().map_or(1, |cpus| u32::try_from(cpus.get()).unwrap_or(u32::MAX))
}

/// The first three numbers of a release; what is missing is 0.
fn numbers(release: &str) -> (u32, u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    (next(), next(), next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_has_three_numbers_before_whatever_follows() {
        assert_eq!(numbers("6.1.0-25-cloud-amd64"), (6, 1, 0));
        assert_eq!(numbers("5.10"), (5, 10, 0));
        assert_eq!(numbers(""), (0, 0, 0));
        assert_eq!(numbers("6.18.1+"), (6, 18, 1));
    }
}
