use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use k8s_state::{Object, Snapshot};

/// Pods outside of their nodes' ranges that are told one by one.
const SINGLE_PODS_MAX: usize = 1024;

/// Addresses of the cluster, as agents are told. Reference: IPv4 alone.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Ranges {
    /// The smallest range that has every service's address; empty: there is none.
    pub service: String,
    /// Those of the nodes' pods, and pods outside of them.
    pub pods: Vec<String>,
}

impl Ranges {
    /// Of what is there now.
    pub fn of(snapshot: &Snapshot) -> Ranges {
        let (mut service, mut nodes, mut pods) = (None, BTreeSet::new(), BTreeSet::new());
        for record in snapshot.records().filter(|record| record.gone.is_none()) {
            match &record.object {
                Object::Service(object) => {
                    for address in four(&object.cluster_addresses) {
                        service = Some(service.map_or(Range { base: address, bits: 32 }, |range: Range| range.with(address)));
                    }
                }
                Object::Node(node) => nodes.extend(node.pod_ranges.iter().filter_map(|range| Range::parse(range))),
                Object::Pod(pod) if !pod.host_network && !pod.phase.has_ended() => pods.extend(four(&pod.addresses)),
                Object::Pod(_) | Object::EndpointSlice(_) | Object::Namespace(_) | Object::ReplicaSet(_) | Object::Deployment(_) => {}
            }
        }
        let single = pods.into_iter().filter(|pod| !nodes.iter().any(|range| range.has(*pod))).take(SINGLE_PODS_MAX);
        let single: Vec<Range> = single.map(|base| Range { base, bits: 32 }).collect();
        let pods = nodes.into_iter().chain(single).map(|range| range.to_string()).collect();
        Ranges { service: service.map(|range| range.to_string()).unwrap_or_default(), pods }
    }
}

fn four(addresses: &[IpAddr]) -> impl Iterator<Item = Ipv4Addr> {
    addresses.iter().filter_map(|address| if let IpAddr::V4(four) = address { Some(*four) } else { None })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Range {
    base: Ipv4Addr,
    bits: u32,
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.base, self.bits)
    }
}

impl Range {
    fn parse(text: &str) -> Option<Range> {
        let (base, bits) = text.split_once('/')?;
        let bits = bits.parse().ok().filter(|bits| *bits <= 32)?;
        Some(Range::cut(base.parse().ok()?, bits))
    }

    fn cut(address: Ipv4Addr, bits: u32) -> Range {
        let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
        Range { base: (u32::from(address) & mask).into(), bits }
    }

    fn has(self, address: Ipv4Addr) -> bool {
        Range::cut(address, self.bits).base == self.base
    }

    fn with(self, address: Ipv4Addr) -> Range {
        let common = (u32::from(self.base) ^ u32::from(address)).leading_zeros();
        Range::cut(address, self.bits.min(common))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_grows_to_what_it_has_to_have() {
        let one = Range { base: [10, 96, 0, 1].into(), bits: 32 };
        assert_eq!(one.to_string(), "10.96.0.1/32");
        assert_eq!(one.with([10, 96, 0, 10].into()).to_string(), "10.96.0.0/28");
        assert_eq!(one.with([10, 97, 0, 1].into()).to_string(), "10.96.0.0/15");
        assert_eq!(one.with([192, 0, 0, 1].into()).to_string(), "0.0.0.0/0");
        assert!(Range::parse("10.244.1.0/24").is_some_and(|range| range.has([10, 244, 1, 9].into()) && !range.has([10, 244, 2, 9].into())));
        assert_eq!((Range::parse("10.244.1.0/33"), Range::parse("fd00::/64")), (None, None));
    }
}
