//! Lookups that the golden cases do not ask for.

use std::collections::BTreeMap;

use ids::UnixNs;
use k8s_state::{Change, EndpointSlice, Limits, Meta, Object, Phase, Pod, Qos, ResourceVersion, State, Uid};

fn meta(name: &str, namespace: &str, labels: &[(&str, &str)]) -> Meta {
    Meta {
        uid: Uid::new(format!("{namespace}/{name}")),
        namespace: namespace.into(),
        name: name.into(),
        version: ResourceVersion(1),
        created: UnixNs(1),
        labels: labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect::<BTreeMap<_, _>>(),
        owners: vec![],
    }
}

fn pod(name: &str, namespace: &str, labels: &[(&str, &str)]) -> Object {
    Object::Pod(Pod {
        meta: meta(name, namespace, labels),
        node: "".into(),
        hostname: "".into(),
        addresses: vec![],
        host_address: None,
        host_network: false,
        phase: Phase::Running,
        qos: Qos::BestEffort,
        message: "".into(),
        reason: "".into(),
        conditions: vec![],
        leaving: false,
        containers: vec![],
    })
}

fn state(objects: Vec<Object>) -> State {
    let mut state = State::new(Limits::default());
    for object in objects {
        state.apply(&Change::put(object, UnixNs(2)));
    }
    state
}

#[test]
fn pods_are_found_by_all_of_their_labels_while_they_live() {
    let mut state = state(vec![
        pod("b", "shop", &[("app", "cart"), ("tier", "web")]),
        pod("a", "shop", &[("app", "cart")]),
        pod("c", "other", &[("app", "cart")]),
        pod("d", "shop", &[("app", "db")]),
        pod("gone", "shop", &[("app", "cart")]),
    ]);
    state.apply(&Change::gone(Uid::new("shop/gone"), ResourceVersion(2), UnixNs(3)));
    let found = |namespace: &str, labels: &[(&str, &str)]| {
        let labels: Vec<(String, String)> = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        state.view().pods_labelled(namespace, &labels).iter().map(|pod| pod.meta.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(found("shop", &[("app", "cart")]), ["a", "b"]);
    assert_eq!(found("", &[("app", "cart")]), ["c", "a", "b"]);
    assert_eq!(found("shop", &[("app", "cart"), ("tier", "web")]), ["b"]);
    assert_eq!(found("shop", &[("app", "none")]), [""; 0]);
}

#[test]
fn a_service_has_the_slices_of_its_namespace_that_name_it() {
    let slice = |name: &str, namespace: &str, service: &str| {
        Object::EndpointSlice(EndpointSlice { meta: meta(name, namespace, &[]), service: service.into(), endpoints: vec![] })
    };
    let mut state = state(vec![
        slice("cart-1", "shop", "cart"),
        slice("cart-2", "shop", "cart"),
        slice("cart-1", "other", "cart"),
        slice("db-1", "shop", "db"),
    ]);
    state.apply(&Change::gone(Uid::new("shop/cart-2"), ResourceVersion(2), UnixNs(3)));
    let found: Vec<String> = state.view().slices_of("shop", "cart").map(|slice| slice.meta.uid.to_string()).collect();
    assert_eq!(found, ["shop/cart-1"]);
}
