//! Services, replica sets, deployments, by id and by name.

use k8s_state::{Deployment, Found, ReplicaSet, Service};
use tables::SemanticType as St;

use super::cluster::full_name;
use super::{Adder, gone, status};

pub(crate) fn add(add: &mut Adder<'_, '_>) {
    services(add);
    sets(add);
    deployments(add);
}

fn services(add: &mut Adder<'_, '_>) {
    fn text(service: Option<Found<'_, Service>>, get: fn(&Service) -> String) -> String {
        service.map_or_else(String::new, |service| get(&service))
    }
    add.text("service_id_to_service_name", St::ServiceName, |cluster, id| text(cluster.service_by_id(id), |s| full_name(&s.meta)));
    add.text("service_id_to_cluster_ip", St::IpAddress, |cluster, id| {
        text(cluster.service_by_id(id), |s| s.cluster_addresses.first().map_or_else(String::new, ToString::to_string))
    });
    add.text("service_id_to_external_ips", St::None, |cluster, id| {
        text(cluster.service_by_id(id), |s| serde_json::json!(s.external_addresses).to_string())
    });
    add.text("service_name_to_service_id", St::None, |cluster, name| text(cluster.service_by_name(name), |s| s.meta.uid.to_string()));
}

fn sets(add: &mut Adder<'_, '_>) {
    fn text<'c>(set: Option<Found<'c, ReplicaSet>>, get: impl FnOnce(Found<'c, ReplicaSet>) -> Option<String>) -> String {
        set.and_then(get).unwrap_or_default()
    }
    add.text("replicaset_id_to_replicaset_name", St::None, |c, id| text(c.set_by_id(id), |set| Some(full_name(&set.meta))));
    add.text("replicaset_name_to_replicaset_id", St::None, |c, name| text(c.set_by_name(name), |set| Some(set.meta.uid.to_string())));
    add.text("replicaset_id_to_namespace", St::None, |c, id| text(c.set_by_id(id), |set| Some(set.meta.namespace.to_string())));
    add.text("replicaset_name_to_namespace", St::None, |c, name| text(c.set_by_name(name), |set| Some(set.meta.namespace.to_string())));
    add.text("replicaset_id_to_owner_references", St::None, |c, id| text(c.set_by_id(id), |set| Some(status::owners(&set.meta))));
    add.text("replicaset_name_to_owner_references", St::None, |c, name| text(c.set_by_name(name), |set| Some(status::owners(&set.meta))));
    add.text("replicaset_id_to_status", St::None, |c, id| text(c.set_by_id(id), |set| Some(status::of_set(set))));
    add.text("replicaset_name_to_status", St::None, |c, name| text(c.set_by_name(name), |set| Some(status::of_set(set))));
    add.text("replicaset_id_to_deployment_name", St::None, |c, id| {
        text(c.set_by_id(id), |set| Some(full_name(&c.deployment_of(set)?.meta)))
    });
    add.text("replicaset_name_to_deployment_name", St::None, |c, name| {
        text(c.set_by_name(name), |set| Some(full_name(&c.deployment_of(set)?.meta)))
    });
    add.text("replicaset_id_to_deployment_id", St::None, |c, id| {
        text(c.set_by_id(id), |set| Some(c.deployment_of(set)?.meta.uid.to_string()))
    });
    add.text("replicaset_name_to_deployment_id", St::None, |c, name| {
        text(c.set_by_name(name), |set| Some(c.deployment_of(set)?.meta.uid.to_string()))
    });
    add.time("replicaset_id_to_start_time", |c, id| c.set_by_id(id).map_or(0, |set| set.meta.created.0));
    add.time("replicaset_name_to_start_time", |c, name| c.set_by_name(name).map_or(0, |set| set.meta.created.0));
    add.time("replicaset_id_to_stop_time", |c, id| gone(c.set_by_id(id)));
    add.time("replicaset_name_to_stop_time", |c, name| gone(c.set_by_name(name)));
}

fn deployments(add: &mut Adder<'_, '_>) {
    fn text<'c>(deployment: Option<Found<'c, Deployment>>, get: fn(Found<'c, Deployment>) -> String) -> String {
        deployment.map_or_else(String::new, get)
    }
    add.text("deployment_id_to_deployment_name", St::None, |c, id| text(c.deployment_by_id(id), |d| full_name(&d.meta)));
    add.text("deployment_name_to_deployment_id", St::None, |c, name| text(c.deployment_by_name(name), |d| d.meta.uid.to_string()));
    add.text("deployment_id_to_namespace", St::None, |c, id| text(c.deployment_by_id(id), |d| d.meta.namespace.to_string()));
    add.text("deployment_name_to_namespace", St::None, |c, name| text(c.deployment_by_name(name), |d| d.meta.namespace.to_string()));
    add.text("deployment_id_to_status", St::None, |c, id| text(c.deployment_by_id(id), status::of_deployment));
    add.text("deployment_name_to_status", St::None, |c, name| text(c.deployment_by_name(name), status::of_deployment));
    add.time("deployment_id_to_start_time", |c, id| c.deployment_by_id(id).map_or(0, |d| d.meta.created.0));
    add.time("deployment_name_to_start_time", |c, name| c.deployment_by_name(name).map_or(0, |d| d.meta.created.0));
    add.time("deployment_id_to_stop_time", |c, id| gone(c.deployment_by_id(id)));
    add.time("deployment_name_to_stop_time", |c, name| gone(c.deployment_by_name(name)));
}
