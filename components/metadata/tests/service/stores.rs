//! The same contracts on the stores that last.

use std::sync::Arc;

use metadata::store::{Embedded, Store};

use super::support::Server;
use super::world::World;
use super::{scripts, tracepoints};

fn file(folder: &tempfile::TempDir) -> Arc<dyn Store> {
    Arc::new(Embedded::open(&folder.path().join("metadata.redb")).unwrap())
}

#[tokio::test]
async fn tracepoints_are_kept_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    tracepoints::the_contract(World::with_store(file(&folder)).await).await;
}

#[tokio::test]
async fn scripts_are_kept_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    scripts::the_contract(World::with_store(file(&folder)).await).await;
}

#[tokio::test]
async fn tracepoints_are_kept_in_etcd() {
    let Some(server) = Server::start(true, &[]) else { return };
    tracepoints::the_contract(World::with_store(Arc::new(server.connect("/px").await)).await).await;
}

#[tokio::test]
async fn scripts_are_kept_in_etcd() {
    let Some(server) = Server::start(false, &[]) else { return };
    scripts::the_contract(World::with_store(Arc::new(server.connect("/px").await)).await).await;
}
