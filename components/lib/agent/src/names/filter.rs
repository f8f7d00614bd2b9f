//! Which names an agent's rows can have, for whoever plans a query.

use std::collections::BTreeSet;

use api::carnot::planner::distributedpb::{MetadataInfo, metadata_info::Filter};
use api::shared::bloomfilterpb::XxHash64BloomFilter;
use api::shared::metadatapb::MetadataType;
use engine::OwnNames;
use engine::distributed::NamesFilter;
use k8s_state::{Moment, Object, Snapshot};
use prost::Message as _;

use crate::names::NamesHandle;

/// Names that a filter is made for at least. Reference: 10,000 at an error of 1 %.
const NAMES_MIN: usize = 10_000;

/// An encoded `MetadataInfo` of [`filter_of`], the same for the same names.
pub fn names_filter(snapshot: &Snapshot) -> Vec<u8> {
    let filter = filter_of(snapshot);
    let (bits, hashes) = filter.parts();
    let fields =
        [MetadataType::ContainerId, MetadataType::PodId, MetadataType::ServiceId, MetadataType::PodName, MetadataType::ServiceName];
    let filter = XxHash64BloomFilter { data: bits.to_vec(), num_hashes: i32::try_from(hashes).unwrap_or(i32::MAX) };
    MetadataInfo { metadata_fields: fields.map(i32::from).to_vec(), filter: Some(Filter::Xxhash64BloomFilter(filter)) }.encode_to_vec()
}

/// What this agent's functions can give now; none until all is known that there was when it began.
impl OwnNames for NamesHandle {
    fn filter(&self) -> Option<NamesFilter> {
        self.counts().complete.then(|| filter_of(&self.snapshot()))
    }
}

/// The names and uids of all pods that are known, of their services and containers, also of those that are gone: rows are kept for longer.
fn filter_of(snapshot: &Snapshot) -> NamesFilter {
    let mut names = BTreeSet::new();
    let mut add = |namespace: &str, name: &str, uid: &str| {
        names.extend([format!("{namespace}/{name}"), name.to_owned(), uid.to_owned()]);
    };
    let mut containers = BTreeSet::new();
    for record in snapshot.records() {
        let Object::Pod(pod) = &record.object else { continue };
        add(&pod.meta.namespace, &pod.meta.name, pod.meta.uid.as_str());
        for service in snapshot.services_of_pod(&pod.meta.uid, Moment::Latest) {
            add(&service.meta.namespace, &service.meta.name, service.meta.uid.as_str());
        }
        let all = pod.containers.iter().chain(&record.replaced);
        containers.extend(all.flat_map(|container| [container.id.to_string(), container.name.to_string()]));
    }
    names.extend(containers);
    let mut filter = NamesFilter::for_names(names.len().max(NAMES_MIN));
    for name in &names {
        filter.insert(name);
    }
    filter
}

#[cfg(test)]
mod tests {
    use api::shared::k8s::metadatapb::resource_update::Update;
    use api::shared::k8s::metadatapb::{PodUpdate, ResourceUpdate, ServiceUpdate};
    use ids::UnixNs;
    use k8s_state::Limits;

    use super::*;
    use crate::names::{Mirror, Sequenced};

    #[test]
    fn it_has_pods_and_their_services_and_hardly_anything_else() {
        let mut mirror = Mirror::new(Limits::default());
        let (uid, namespace) = ("p".to_owned(), "shop".to_owned());
        let pod = PodUpdate { uid: uid.clone(), name: "web-0".to_owned(), namespace: namespace.clone(), ..Default::default() };
        let service = ServiceUpdate { uid: "s".to_owned(), name: "web".to_owned(), namespace, pod_ids: vec![uid], ..Default::default() };
        for (version, update) in [(1, Update::PodUpdate(pod)), (2, Update::ServiceUpdate(service))] {
            let update = ResourceUpdate { update: Some(update), update_version: version, prev_update_version: version - 1 };
            mirror.apply(Sequenced { version, previous: version - 1, update }, UnixNs(1));
        }
        let info = MetadataInfo::decode(names_filter(&mirror.snapshot()).as_slice()).unwrap();
        let Some(Filter::Xxhash64BloomFilter(filter)) = info.filter else { panic!("a filter") };
        let filter = NamesFilter::from_parts(filter.data, filter.num_hashes as u32).unwrap();
        for name in ["shop/web-0", "web-0", "p", "shop/web", "web", "s"] {
            assert!(filter.may_have(name), "{name}");
        }
        assert!(!filter.may_have("shop/other"));
    }
}
