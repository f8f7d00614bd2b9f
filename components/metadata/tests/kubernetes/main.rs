//! Names of Kubernetes from an API server of the test's own, through watches that break, to agents that miss some.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::shared::k8s::metadatapb::resource_update::Update;
use api::shared::k8s::metadatapb::{MissingK8sMetadataRequest, MissingK8sMetadataResponse, PodPhase, ResourceUpdate};
use api::vizier::messages::vizier_message::Msg;
use api::vizier::messages::{CollectorStates, K8sMetadataMessage, VizierMessage, k8s_metadata_message};
use bus::{Bus, Hub, Selector, Subscription, subject};
use harness_kubernetes::{
    ApiServer, DEPLOYMENTS, LEASES, NAMESPACES, NODES, PODS, SERVICES, SETS, SLICES, node, pod, service, simple, slice,
};
use metadata::election::Candidate;
use metadata::store::{Memory, Store};
use metadata::{Clock, Kubernetes, Parts, Service, StoreSource};
use serde_json::json;
use service::Shell;

/// Watches are begun anew after pauses of a second or so.
const WAIT_MAX: Duration = Duration::from_secs(30);

struct World {
    server: ApiServer,
    hub: Arc<Hub>,
    store: Arc<dyn Store>,
    _service: Service,
    shell: Shell,
}

fn kubernetes(server: &ApiServer) -> Kubernetes {
    let config = kube::Config::new(server.url.parse().unwrap());
    Kubernetes::new(kube::Client::try_from(config).unwrap(), vec![], "pl".to_owned())
}

impl World {
    async fn new() -> World {
        let server = ApiServer::start().await.unwrap();
        server.put(NODES, node("node-1", "10.0.0.1", "10.244.1.0/24"));
        server.put(NAMESPACES, simple("v1", "Namespace", "shop"));
        server.put(DEPLOYMENTS, simple("apps/v1", "Deployment", "carts"));
        server.put(SETS, simple("apps/v1", "ReplicaSet", "cart-1"));
        server.put(PODS, pod("cart-a", "10.244.1.1", "10.0.0.1", "aa"));
        server.put(SERVICES, service("cart", "10.96.0.10"));
        server.put(SLICES, slice("cart", &["cart-a"]));
        World::start(server, Arc::new(Hub::new()), Arc::new(Memory::default())).await
    }

    async fn start(server: ApiServer, hub: Arc<Hub>, store: Arc<dyn Store>) -> World {
        let shell = Shell::default();
        let parts = Parts {
            store: StoreSource::Ready { store: Arc::clone(&store), shared: false },
            candidate: Candidate::new("one", true),
            bus: hub.connect("metadata").unwrap(),
            clock: Clock::of_machine(),
        };
        let service = Service::start_in(Some(kubernetes(&server)), parts, &shell);
        assert!(service.leads().until(true).await);
        World { server, hub, store, _service: service, shell }
    }

    async fn stop(self) -> (ApiServer, Arc<Hub>, Arc<dyn Store>) {
        self.shell.stop.cancel();
        self.shell.tasks.close();
        self.shell.tasks.wait().await;
        (self.server, self.hub, self.store)
    }

    async fn follower(&self, selector: Selector) -> Follower {
        let bus = self.hub.connect("agent").unwrap();
        let heard = bus.subscribe(subject::k8s_updates(selector)).await.unwrap();
        Follower { bus, selector, heard, known: BTreeMap::new() }
    }
}

/// Hears of a topic, and asks for what it has not heard.
struct Follower {
    bus: Bus,
    selector: Selector,
    heard: Subscription<VizierMessage>,
    known: BTreeMap<i64, ResourceUpdate>,
}

impl Follower {
    fn take(&mut self, message: VizierMessage) -> Option<MissingK8sMetadataResponse> {
        let Some(Msg::K8sMetadataMessage(K8sMetadataMessage { msg: Some(msg) })) = message.msg else { return None };
        match msg {
            k8s_metadata_message::Msg::K8sMetadataUpdate(update) => {
                self.known.insert(update.update_version, update);
                None
            }
            k8s_metadata_message::Msg::MissingK8sMetadataResponse(response) => {
                assert!(response.updates.len() <= 128);
                for update in response.updates.clone() {
                    self.known.insert(update.update_version, update);
                }
                Some(response)
            }
            k8s_metadata_message::Msg::MissingK8sMetadataRequest(_) => None,
        }
    }

    /// Asks for everything, as at a start, until `is_there` says so.
    async fn until(&mut self, what: &str, is_there: impl Fn(&BTreeMap<i64, ResourceUpdate>) -> bool) {
        let waited = tokio::time::timeout(WAIT_MAX, async {
            while !is_there(&self.known) {
                self.ask(0, 0).await;
                while let Ok(Some(received)) = tokio::time::timeout(Duration::from_millis(100), self.heard.next()).await {
                    self.take(received.message);
                }
            }
        });
        assert!(waited.await.is_ok(), "{what}: {:#?}", lines(&self.known));
    }

    async fn ask(&self, from: i64, to: i64) {
        let request = MissingK8sMetadataRequest {
            selector: self.selector.to_string(),
            from_update_version: from,
            to_update_version: to,
            custom_topic: String::new(),
        };
        let msg = k8s_metadata_message::Msg::MissingK8sMetadataRequest(request);
        let message = VizierMessage { msg: Some(Msg::K8sMetadataMessage(K8sMetadataMessage { msg: Some(msg) })) };
        self.bus.publish(&subject::missing_metadata_requests(), &message).await.unwrap();
    }

    /// The answer to one question, all parts.
    async fn answer(&mut self, from: i64, to: i64) -> Vec<MissingK8sMetadataResponse> {
        self.ask(from, to).await;
        let mut parts = Vec::new();
        while let Ok(Some(received)) = tokio::time::timeout(Duration::from_millis(500), self.heard.next()).await {
            parts.extend(self.take(received.message));
        }
        parts
    }
}

/// In a word or two.
fn lines(known: &BTreeMap<i64, ResourceUpdate>) -> Vec<String> {
    let ends = |stop: i64| if stop == 0 { "" } else { " ended" };
    let line = |update: &ResourceUpdate| match update.update.as_ref().unwrap() {
        Update::PodUpdate(pod) => format!("pod {} {}{}", pod.name, pod.pod_ip, ends(pod.stop_timestamp_ns)),
        Update::ContainerUpdate(container) => format!("container {}{}", container.cid, ends(container.stop_timestamp_ns)),
        Update::ServiceUpdate(service) if !service.cluster_ip.is_empty() => format!("service {} {}", service.name, service.cluster_ip),
        Update::ServiceUpdate(service) => format!("service {} {:?}{}", service.name, service.pod_names, ends(service.stop_timestamp_ns)),
        Update::NamespaceUpdate(namespace) => format!("namespace {}", namespace.name),
        Update::NodeUpdate(node) => format!("node {} {:?}", node.name, node.pod_cidrs),
        Update::ReplicaSetUpdate(set) => format!("set {} of {}", set.name, set.requested_replicas),
        Update::DeploymentUpdate(deployment) => format!("deployment {} of {}", deployment.name, deployment.requested_replicas),
    };
    known.values().map(line).collect()
}

fn has(line: &'static str) -> impl Fn(&BTreeMap<i64, ResourceUpdate>) -> bool {
    move |known| lines(known).iter().any(|have| have == line)
}

#[tokio::test]
async fn agents_hear_of_everything_and_each_node_of_its_own() {
    let world = World::new().await;
    let mut all = world.follower(Selector::All).await;
    for line in ["pod cart-a 10.244.1.1", "container aa", "service cart 10.96.0.10", "service cart [\"cart-a\"]", "namespace shop"] {
        all.until(line, has(line)).await;
    }
    all.until("the rest", |known| {
        has("set cart-1 of 2")(known) && has("deployment carts of 2")(known) && has("node node-1 [\"10.244.1.0/24\"]")(known)
    })
    .await;
    let order = lines(&all.known);
    let place = |line: &str| order.iter().position(|have| have == line).unwrap();
    assert!(place("container aa") < place("pod cart-a 10.244.1.1"), "children come before their parents: {order:?}");
    let told = all
        .known
        .values()
        .find_map(|update| if let Some(Update::PodUpdate(pod)) = &update.update { Some(pod.clone()) } else { None })
        .unwrap();
    assert_eq!(
        (told.labels.as_str(), told.phase(), told.owner_references[0].name.as_str()),
        ("{\"app\":\"cart\"}", PodPhase::Running, "cart-1")
    );

    let mut own = world.follower(Selector::Host("10.0.0.1".parse().unwrap())).await;
    own.until("its own", |known| {
        has("pod cart-a 10.244.1.1")(known) && has("namespace shop")(known) && has("service cart [\"cart-a\"]")(known)
    })
    .await;
    assert!(!has("service cart 10.96.0.10")(&own.known));
    world.server.put(PODS, pod("cart-b", "10.244.2.1", "10.0.0.2", "bb"));
    world.server.put(NODES, node("node-2", "10.0.0.2", "10.244.2.0/24"));
    world.server.put(SLICES, slice("cart", &["cart-a", "cart-b"]));
    all.until("two pods", has("service cart [\"cart-a\", \"cart-b\"]")).await;
    let mut other = world.follower(Selector::Host("10.0.0.2".parse().unwrap())).await;
    other.until("a node that came later", |known| has("namespace shop")(known) && has("service cart [\"cart-b\"]")(known)).await;
    own.until("nothing new", has("pod cart-a 10.244.1.1")).await;
    assert!(!has("pod cart-b 10.244.2.1")(&own.known));

    world.server.delete(PODS, "cart-a");
    world.server.put(SLICES, slice("cart", &["cart-b"]));
    own.until("it went", |known| {
        has("pod cart-a 10.244.1.1 ended")(known) && has("container aa ended")(known) && has("service cart []")(known)
    })
    .await;
}

#[tokio::test]
async fn a_watch_that_breaks_goes_on_and_one_that_is_too_old_lists_again() {
    let world = World::new().await;
    let mut all = world.follower(Selector::All).await;
    all.until("the first", has("pod cart-a 10.244.1.1")).await;
    let lists = world.server.lists(PODS);
    world.server.break_watches();
    world.server.put(PODS, pod("cart-b", "10.244.1.2", "10.0.0.1", "bb"));
    all.until("after a break", has("pod cart-b 10.244.1.2")).await;
    assert_eq!(world.server.lists(PODS), lists, "it went on where it was");

    // What happens now nobody sees, and the server forgets it.
    world.server.put(PODS, pod("cart-c", "10.244.1.3", "10.0.0.1", "cc"));
    all.until("before the past is forgotten", has("pod cart-c 10.244.1.3")).await;
    world.server.break_watches();
    world.server.delete(PODS, "cart-b");
    world.server.put(PODS, pod("cart-d", "10.244.1.4", "10.0.0.1", "dd"));
    world.server.forget_the_past();
    all.until("after 410 Gone", |known| has("pod cart-d 10.244.1.4")(known) && has("pod cart-b 10.244.1.2 ended")(known)).await;
    assert!(world.server.lists(PODS) > lists, "it listed again");
}

#[tokio::test]
async fn what_is_missing_can_be_asked_for_in_parts_of_128() {
    let world = World::new().await;
    for number in 0..200 {
        world.server.put(PODS, pod(&format!("p{number:03}"), &format!("10.244.1.{}", number + 10), "10.0.0.1", &format!("c{number}")));
    }
    let mut all = world.follower(Selector::All).await;
    all.until("the last one", has("pod p199 10.244.1.209")).await;
    let parts = all.answer(0, 0).await;
    assert!(parts.len() >= 4, "{} parts", parts.len());
    let updates: Vec<&ResourceUpdate> = parts.iter().flat_map(|part| &part.updates).collect();
    assert_eq!(updates[0].prev_update_version, 0, "nothing is before the first");
    assert!(updates.windows(2).all(|pair| pair[1].prev_update_version == pair[0].update_version), "each names the one before");
    let (first, last) = (updates[0].update_version, updates[updates.len() - 1].update_version);
    assert!(parts.iter().all(|part| (part.first_update_available, part.last_update_available) == (first, last)));
    let some = all.answer(last - 3, last).await;
    assert_eq!(some[0].updates.iter().map(|update| update.update_version).collect::<Vec<_>>(), [last - 3, last - 2, last - 1]);
    let none = all.answer(last + 1, 0).await;
    assert_eq!((none.len(), none[0].updates.len(), none[0].last_update_available), (1, 0, last));
}

#[tokio::test]
async fn after_a_restart_only_what_changed_is_told_and_what_went_meanwhile_is_taken_back() {
    let world = World::new().await;
    let mut all = world.follower(Selector::All).await;
    world.server.put(PODS, pod("cart-b", "10.244.1.2", "10.0.0.1", "bb"));
    all.until("two pods", |known| {
        has("pod cart-a 10.244.1.1")(known) && has("pod cart-b 10.244.1.2")(known) && has("set cart-1 of 2")(known)
    })
    .await;
    all.until("and the rest", |known| has("service cart 10.96.0.10")(known) && has("deployment carts of 2")(known)).await;
    let (server, hub, store) = world.stop().await;
    server.delete(PODS, "cart-b");
    let known = all.known.clone();
    let world = World::start(server, hub, store).await;
    all.until("what went meanwhile", has("pod cart-b 10.244.1.2 ended")).await;
    let news: BTreeMap<i64, ResourceUpdate> =
        all.known.iter().filter(|(version, _)| !known.contains_key(version)).map(|(v, u)| (*v, u.clone())).collect();
    assert!(news.keys().all(|version| known.keys().all(|old| version > old)), "numbers go on");
    let news = lines(&news);
    assert!(news.iter().all(|line| line.ends_with("ended")), "{news:?}");
    drop(world);
}

#[tokio::test]
async fn agents_are_told_the_clusters_addresses() {
    let world = World::new().await;
    world.server.put(SERVICES, service("db", "10.96.0.77"));
    world.server.put(PODS, pod("far", "192.168.7.7", "10.0.0.1", "ff"));
    let bus = world.hub.connect("pem").unwrap();
    let id = ids::AgentId::from_halves(7, 1);
    let mut heard = bus.subscribe(subject::agent(id)).await.unwrap();
    let info = api::vizier::services::shared::agent::AgentInfo {
        agent_id: Some(api::uuidpb::Uuid { high_bits: 7, low_bits: 1 }),
        ip_address: "10.0.0.1".to_owned(),
        capabilities: Some(api::vizier::services::shared::agent::AgentCapabilities { collects_data: true }),
        ..Default::default()
    };
    let say = async |msg| bus.publish(&subject::update_agent(), &VizierMessage { msg: Some(msg) }).await.unwrap();
    say(Msg::RegisterAgentRequest(api::vizier::messages::RegisterAgentRequest { info: Some(info), asid: 0, incarnation: 1 })).await;
    let update = api::vizier::messages::AgentUpdateInfo {
        does_update_schema: true,
        data: Some(api::vizier::messages::AgentDataInfo { metadata_info: None, collectors: Some(CollectorStates::default()) }),
        ..Default::default()
    };
    let mut sequence = 0;
    let waited = tokio::time::timeout(WAIT_MAX, async {
        loop {
            sequence += 1;
            let agent_id = Some(api::uuidpb::Uuid { high_bits: 7, low_bits: 1 });
            let update_info = (sequence == 1).then(|| update.clone());
            say(Msg::Heartbeat(api::vizier::messages::Heartbeat {
                agent_id,
                time: 0,
                update_info,
                sequence_number: sequence,
                incarnation: 1,
            }))
            .await;
            let ack = loop {
                if let Some(Msg::HeartbeatAck(ack)) = heard.next().await.unwrap().message.msg {
                    break ack.update_info.unwrap();
                }
            };
            if ack.service_cidr == "10.96.0.0/25" && ack.pod_cidrs == ["10.244.1.0/24", "192.168.7.7/32"] {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    assert!(waited.await.is_ok());
}

#[tokio::test]
async fn replicas_share_a_lease_of_kubernetes() {
    let server = ApiServer::start().await.unwrap();
    let (hub, store): (Arc<Hub>, Arc<dyn Store>) = (Arc::new(Hub::new()), Arc::new(Memory::default()));
    let start = |name: &str| {
        let shell = Shell::default();
        let parts = Parts {
            store: StoreSource::Ready { store: Arc::clone(&store), shared: true },
            candidate: Candidate::new(name, true),
            bus: hub.connect(name).unwrap(),
            clock: Clock::of_machine(),
        };
        (Service::start_in(Some(kubernetes(&server)), parts, &shell), shell)
    };
    let (one, shell) = start("one");
    assert!(one.leads().until(true).await);
    let lease = server.object(LEASES, "metadata-election").unwrap();
    assert_eq!(lease["spec"]["holderIdentity"], json!("one"));
    let (two, _two_shell) = start("two");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!two.leads().now());
    shell.stop.cancel();
    shell.tasks.close();
    shell.tasks.wait().await;
    assert!(tokio::time::timeout(WAIT_MAX, two.leads().until(true)).await.unwrap());
    assert_eq!(server.object(LEASES, "metadata-election").unwrap()["spec"]["holderIdentity"], json!("two"));
}
