//! Addresses.

use std::net::IpAddr;

use pxl::SemanticRule;

use crate::builder::Builder;
use crate::kernel::{Bool, Text, binary};

pub(crate) fn add(b: &mut Builder) {
    b.kernel("cidrs_contain_ip", SemanticRule::None, binary::<Text, Text, Bool>(cidrs_contain_ip));
}

/// Whether the address lies in any of the networks of a JSON array.
fn cidrs_contain_ip(cidrs: &str, ip: &str) -> bool {
    let (Ok(cidrs), Ok(ip)) = (serde_json::from_str::<Vec<String>>(cidrs), ip.trim().parse()) else { return false };
    cidrs.iter().any(|cidr| contains(cidr, ip))
}

fn contains(cidr: &str, ip: IpAddr) -> bool {
    let Some((network, bits)) = cidr.split_once('/') else { return false };
    let (Ok(network), Ok(bits)) = (network.trim().parse::<IpAddr>(), bits.trim().parse::<u32>()) else { return false };
    match (network.to_canonical(), ip.to_canonical()) {
        (IpAddr::V4(network), IpAddr::V4(ip)) => bits <= 32 && (network.to_bits() ^ ip.to_bits()).checked_shr(32 - bits).unwrap_or(0) == 0,
        (IpAddr::V6(network), IpAddr::V6(ip)) => {
            bits <= 128 && (network.to_bits() ^ ip.to_bits()).checked_shr(128 - bits).unwrap_or(0) == 0
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_lies_within_its_network() {
        let cidrs = r#"["10.0.0.0/8", "fd00::/16", "192.168.1.7/32", "bad", "1.1.1.1/99"]"#;
        for (ip, want) in [
            ("10.1.2.3", true),
            ("11.0.0.1", false),
            ("fd00::1", true),
            ("fd01::1", false),
            ("192.168.1.7", true),
            ("", false),
            ("1.1.1.1", false),
        ] {
            assert_eq!(cidrs_contain_ip(cidrs, ip), want, "{ip}");
        }
        assert!(cidrs_contain_ip(r#"["0.0.0.0/0"]"#, "8.8.8.8"));
        assert!(!cidrs_contain_ip("nonsense", "8.8.8.8"));
    }
}
