//! What is known of Kubernetes: names by process, id, name and address. Without Kubernetes nothing is known, and every text is empty.

mod cluster;
mod pods;
mod status;
mod workloads;

use std::borrow::Cow;
use std::sync::Arc;

use pxl::RunsOn::{Anywhere, Kelvin, Pem};
use pxl::{RunsOn, SemanticRule};
use tables::SemanticType as St;

use crate::builder::Builder;
use crate::environment::Environment;
use crate::kernel::{Kind, Overload, Text, Time, Wide, binary_with, nullary, ternary_with, unary, unary_with};
use cluster::{Cluster, address, at, one_or_list};

pub(crate) fn add(b: &mut Builder, environment: &Environment) {
    let mut add = Adder { builder: b, environment };
    pods::add(&mut add);
    workloads::add(&mut add);
    add_processes(&mut add);
    add_addresses(&mut add);
    add.builder.kernel("pod_name_to_namespace", SemanticRule::Always(St::NamespaceName), unary::<Text, Text>(namespace_of));
    add.builder.kernel("service_name_to_namespace", SemanticRule::Always(St::NamespaceName), unary::<Text, Text>(namespace_of));
    add.text("namespace_name_to_namespace_id", St::None, Cluster::namespace_id);
    let kubernetes = Arc::clone(&environment.kubernetes);
    add.builder.kernel_here(
        "get_cidrs",
        SemanticRule::None,
        nullary::<Text>(move || Cow::Owned(cluster::cidrs(&kubernetes.service_ranges(), &kubernetes.pod_ranges()))),
    );
}

/// Adds functions over one view of the cluster for each batch.
pub(crate) struct Adder<'b, 'e> {
    builder: &'b mut Builder,
    environment: &'e Environment,
}

impl Adder<'_, '_> {
    fn cluster(&self) -> impl Fn() -> Cluster + Send + Sync + use<> {
        let kubernetes = Arc::clone(&self.environment.kubernetes);
        move || Cluster::new(Arc::clone(&kubernetes))
    }

    fn kernel(&mut self, name: &'static str, runs_on: RunsOn, semantic: St, overload: Overload) {
        let rule = if semantic == St::None { SemanticRule::None } else { SemanticRule::Always(semantic) };
        self.builder.kernel_on(name, runs_on, rule, overload);
    }

    /// A text of a text: an id or a name.
    pub(crate) fn text(&mut self, name: &'static str, semantic: St, f: fn(&Cluster, &str) -> String) {
        let overload = unary_with::<_, Text, Text>(self.cluster(), move |cluster, text| Cow::Owned(f(cluster, text)));
        self.kernel(name, Anywhere, semantic, overload);
    }

    /// A time of an id or a name; 0 if there is none.
    pub(crate) fn time(&mut self, name: &'static str, f: fn(&Cluster, &str) -> i64) {
        let overload = unary_with::<_, Text, Time>(self.cluster(), f);
        self.kernel(name, Anywhere, St::None, overload);
    }

    /// A text of a process, which only its own agent knows.
    pub(crate) fn of_process(&mut self, name: &'static str, semantic: St, f: fn(&Cluster, ids::Upid) -> String) {
        let overload = unary_with::<_, Wide, Text>(self.cluster(), move |cluster, upid| Cow::Owned(f(cluster, process(upid))));
        self.kernel(name, Pem, semantic, overload);
    }
}

fn process(upid: <Wide as Kind>::Row<'_>) -> ids::Upid {
    ids::Upid::from_be_bytes(upid.to_be_bytes())
}

fn add_processes(add: &mut Adder<'_, '_>) {
    add.of_process("upid_to_container_id", St::None, |cluster, upid| {
        cluster.container_id(upid).map_or_else(String::new, |id| id.to_string())
    });
    add.of_process("upid_to_container_name", St::ContainerName, |cluster, upid| {
        let id = cluster.container_id(upid);
        let found = id.as_ref().and_then(|id| cluster.snapshot.container(id));
        found.map_or_else(String::new, |(container, _)| container.name.to_string())
    });
    let processes = Arc::clone(&add.environment.processes);
    let libraries = unary::<Wide, Text>(move |upid| {
        Cow::Owned(processes.shared_libraries(process(upid)).map_or_else(String::new, |paths| serde_json::json!(paths).to_string()))
    });
    add.kernel("shared_libraries", Pem, St::None, libraries);
    let local = ternary_with::<_, Wide, Text, Time, Text>(add.cluster(), |cluster, upid, local_address, time| {
        let by_address = || cluster.pod_of_address(address(local_address)?, at(time));
        let pod = cluster.pod_of_process(process(upid)).or_else(by_address);
        Cow::Owned(pod.map_or_else(String::new, |pod| cluster::full_name(&pod.meta)))
    });
    add.kernel("_upid_to_podname_local_addr_fallback", Pem, St::PodName, local);
}

fn add_addresses(add: &mut Adder<'_, '_>) {
    let latest = unary_with::<_, Text, Text>(add.cluster(), |cluster, text| {
        let pod = address(text).and_then(|address| cluster.pod_of_address(address, k8s_state::Moment::Latest));
        Cow::Owned(pod.map_or_else(String::new, |pod| pod.meta.uid.to_string()))
    });
    add.kernel("ip_to_pod_id", Kelvin, St::None, latest);
    let at_time = binary_with::<_, Text, Time, Text>(add.cluster(), |cluster, text, time| {
        let pod = address(text).and_then(|address| cluster.pod_of_address(address, at(time)));
        Cow::Owned(pod.map_or_else(String::new, |pod| pod.meta.uid.to_string()))
    });
    add.kernel("ip_to_pod_id", Kelvin, St::None, at_time);
    let services = unary_with::<_, Text, Text>(add.cluster(), |cluster, text| {
        let ids = address(text).map_or_else(Vec::new, |address| cluster.service_ids_of_address(address));
        Cow::Owned(one_or_list(ids))
    });
    add.kernel("ip_to_service_id", Kelvin, St::None, services);
    let names = Arc::clone(&add.environment.addresses);
    let lookup = unary::<Text, Text>(move |text| {
        let name = address(text).and_then(|address| names.name_of(address));
        Cow::Owned(name.unwrap_or_else(|| text.to_owned()))
    });
    add.kernel("nslookup", Anywhere, St::None, lookup);
}

fn namespace_of(name: &str) -> Cow<'static, str> {
    cluster::parts(name).map_or(Cow::Borrowed(""), |(namespace, _)| Cow::Owned(namespace.to_owned()))
}

/// When it went; 0 while it is there.
fn gone<T>(found: Option<k8s_state::Found<'_, T>>) -> i64 {
    found.and_then(|found| found.record.gone).map_or(0, |gone| gone.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_stands_before_the_only_slash() {
        let several = r#"["shop/cart","shop/web"]"#;
        assert_eq!(["shop/web", "web", "a/b/c", "", several].map(|name| namespace_of(name).into_owned()), ["shop", "", "", "", ""]);
    }
}
