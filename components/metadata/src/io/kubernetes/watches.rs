use std::fmt::Debug;

use futures::{Stream, StreamExt as _};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use k8s_state::{Kind, Object, Scope};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use super::convert::Convert;
use crate::metrics::Metrics;

/// News that wait for the feeder; the API server waits when there are more.
const NEWS_WAITING_MAX: usize = 1024;

/// A cluster to watch.
#[derive(Clone)]
pub struct Kubernetes {
    client: Client,
    /// Whose pods, services and sets; none: all.
    namespaces: Vec<String>,
    /// Where leases of our own are.
    own_namespace: String,
}

impl Debug for Kubernetes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kubernetes").field("namespaces", &self.namespaces).finish_non_exhaustive()
    }
}

/// What a watch says.
#[derive(Debug)]
pub(super) enum News {
    /// These are all.
    Listed(Scope, Vec<Object>),
    /// One is like this.
    Put(Box<Object>),
    /// One is gone.
    Gone(Box<Object>),
}

impl Kubernetes {
    /// Namespaces to watch: none stands for all. `own_namespace`: of this pod.
    pub fn new(client: Client, namespaces: Vec<String>, own_namespace: String) -> Kubernetes {
        Kubernetes { client, namespaces, own_namespace }
    }

    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }

    pub(super) fn own_namespace(&self) -> &str {
        &self.own_namespace
    }

    /// What the watches say as long as the future is polled, which ends when nobody listens.
    pub(super) fn watch(&self, metrics: &Metrics) -> (mpsc::Receiver<News>, impl Future<Output = ()> + Send + use<>) {
        let (sender, receiver) = mpsc::channel(NEWS_WAITING_MAX);
        let own = || (None, sender.clone(), metrics.clone());
        let mut watches: Vec<futures::future::BoxFuture<'static, ()>> = vec![
            Box::pin(follow(self.cluster::<Node>(), Kind::Node, own())),
            Box::pin(follow(self.cluster::<Namespace>(), Kind::Namespace, own())),
        ];
        let named: Vec<Option<&str>> = self.namespaces.iter().map(|name| Some(name.as_str())).collect();
        for namespace in if named.is_empty() { vec![None] } else { named } {
            let own = || (namespace, sender.clone(), metrics.clone());
            watches.push(Box::pin(follow(self.namespaced::<ReplicaSet>(namespace), Kind::ReplicaSet, own())));
            watches.push(Box::pin(follow(self.namespaced::<Deployment>(namespace), Kind::Deployment, own())));
            watches.push(Box::pin(follow(self.namespaced::<Pod>(namespace), Kind::Pod, own())));
            watches.push(Box::pin(follow(self.namespaced::<Service>(namespace), Kind::Service, own())));
            watches.push(Box::pin(follow(self.namespaced::<EndpointSlice>(namespace), Kind::EndpointSlice, own())));
        }
        let all = futures::future::join_all(watches);
        (receiver, async move {
            let _ended = all.await;
        })
    }

    fn cluster<K: Resource<Scope = ClusterResourceScope, DynamicType = ()>>(&self) -> Api<K> {
        Api::all(self.client.clone())
    }

    fn namespaced<K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>>(&self, namespace: Option<&str>) -> Api<K> {
        match namespace {
            Some(name) => Api::namespaced(self.client.clone(), name),
            None => Api::all(self.client.clone()),
        }
    }
}

/// One kind. A watch that breaks goes on where it was; one that is too old lists again; both with growing, jittered pauses, for ever.
fn follow<K>(
    api: Api<K>,
    kind: Kind,
    (namespace, news, metrics): (Option<&str>, mpsc::Sender<News>, Metrics),
) -> impl Future<Output = ()> + Send + use<K>
where
    K: Resource + Convert + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let stream = watcher::watcher(api, watcher::Config::default()).default_backoff();
    let scope = Scope { kind, namespace: namespace.map(Into::into) };
    async move { tell(stream, &scope, &news, &metrics).await }
}

async fn tell<K>(
    stream: impl Stream<Item = watcher::Result<watcher::Event<K>>>,
    scope: &Scope,
    news: &mpsc::Sender<News>,
    metrics: &Metrics,
) where
    K: Convert,
{
    let mut stream = std::pin::pin!(stream);
    let mut listed = Vec::new();
    while let Some(event) = stream.next().await {
        let told = match event {
            Ok(watcher::Event::Init) => {
                listed.clear();
                continue;
            }
            Ok(watcher::Event::InitApply(object)) => {
                listed.push(object.convert());
                continue;
            }
            Ok(watcher::Event::InitDone) => News::Listed(scope.clone(), std::mem::take(&mut listed)),
            Ok(watcher::Event::Apply(object)) => News::Put(Box::new(object.convert())),
            Ok(watcher::Event::Delete(object)) => News::Gone(Box::new(object.convert())),
            Err(error) => {
                metrics.change(|numbers| numbers.k8s_watch_failures += 1);
                tracing::debug!(kind = ?scope.kind, error = &error as &dyn std::error::Error, "a watch broke");
                continue;
            }
        };
        if news.send(told).await.is_err() {
            return;
        }
    }
}
