//! The scripts of the control plane, copied into the metadata service's store.

use std::collections::BTreeMap;
use std::time::Duration;

use api::cvmsgspb::cron_script_update::Msg as Change;
use api::cvmsgspb::{
    C2vMessage, CronScript, CronScriptUpdate, DeleteCronScriptResponse, GetCronScriptsChecksumRequest, GetCronScriptsChecksumResponse,
    GetCronScriptsRequest, GetCronScriptsResponse, RegisterOrUpdateCronScriptResponse, V2cMessage,
};
use api::vizier::services::metadata::{AddOrUpdateScriptRequest, DeleteScriptRequest, GetScriptsRequest, SetScriptsRequest};
use bus::subject::{Subject, Topic};
use bus::{Bus, Error, Pace, Received, Subscription, subject};
use ids::ScriptId;
use prost::Message;
use tokio::sync::watch;
use tonic::Status;
use uuid::Uuid;

use super::checksum::{checksum, script_id};
use crate::metadata::Metadata;
use crate::passthrough::wire;

/// How long an answer of the control plane is awaited. Reference: 2 min.
const ANSWER_MAX: Duration = Duration::from_mins(2);

/// How long everybody is let alone after a failure: the metadata service may be starting.
const AGAIN: Duration = Duration::from_secs(10);

/// A question is said again after this long, then after twice as long, and so on.
const ASK_FIRST: Duration = Duration::from_secs(2);
const ASK_MAX: Duration = Duration::from_secs(30);

/// Scripts whose last change is remembered. A Vizier has some dozens.
const CHANGES_REMEMBERED_MAX: usize = 10_000;

/// Keeps the store as the control plane has it.
pub(crate) struct ScriptSync {
    metadata: Metadata,
    bus: Bus,
    changed: watch::Sender<u64>,
    /// The time of the last change of each script: older ones are late.
    applied: BTreeMap<ScriptId, i64>,
}

impl ScriptSync {
    pub(crate) fn new(metadata: Metadata, bus: Bus, changed: watch::Sender<u64>) -> ScriptSync {
        ScriptSync { metadata, bus, changed, applied: BTreeMap::new() }
    }

    pub(crate) async fn run(mut self) {
        let Ok(topic) = Topic::new("CronScriptsUpdates") else { return };
        // Before all are asked for: what changes meanwhile is heard.
        let mut updates = match self.bus.subscribe(subject::c2v(topic)).await {
            Ok(updates) => updates,
            Err(error) => {
                tracing::error!(%error, "changes of scripts that run again and again are not heard");
                return;
            }
        };
        while let Err(why) = self.all().await {
            tracing::debug!(why, "the control plane does not tell its scripts");
            let quiet = tokio::time::sleep(AGAIN);
            tokio::pin!(quiet);
            loop {
                tokio::select! {
                    () = &mut quiet => break,
                    update = updates.next() => match update {
                        Some(update) => self.take(update).await,
                        None => return,
                    },
                }
            }
        }
        while let Some(update) = updates.next().await {
            self.take(update).await;
        }
    }

    /// All scripts, if ours are others than the control plane's.
    async fn all(&mut self) -> Result<(), String> {
        let text = |status: Status| status.message().to_owned();
        let own = self.metadata.cron_scripts().get_scripts(GetScriptsRequest::default()).await.map_err(text)?.into_inner().scripts;
        let ask = |topic: &str| GetCronScriptsChecksumRequest { topic: topic.to_owned() };
        let theirs: GetCronScriptsChecksumResponse =
            self.ask("GetCronScriptsCheckSumRequest", ("GetCronScriptsChecksumRequest", ask), "GetCronScriptsCheckSumResponse").await?;
        if theirs.checksum[..] == checksum(own.values()) {
            return Ok(());
        }
        let ask = |topic: &str| GetCronScriptsRequest { topic: topic.to_owned() };
        let all: GetCronScriptsResponse =
            self.ask("GetCronScriptsRequest", ("GetCronScriptsRequest", ask), "GetCronScriptsResponse").await?;
        tracing::info!(count = all.scripts.len(), "the control plane's scripts are taken over");
        self.metadata.cron_scripts().set_scripts(SetScriptsRequest { scripts: all.scripts }).await.map_err(text)?;
        self.changed.send_modify(|count| *count += 1);
        Ok(())
    }

    /// Says it until the answer comes. `name` is that of the message.
    async fn ask<Q: Message, A: Message + Default>(
        &self,
        topic: &str,
        (name, question): (&str, impl Fn(&str) -> Q),
        answer: &str,
    ) -> Result<A, String> {
        let text = |error: Error| error.to_string();
        // Nobody else listens there.
        let own = Uuid::new_v4().to_string();
        let mut answers: Subscription<C2vMessage> =
            self.bus.subscribe(subject::c2v(Topic::new(&format!("{answer}:{own}")).map_err(text)?)).await.map_err(text)?;
        let to: Subject<V2cMessage> = subject::v2c(Topic::new(topic).map_err(text)?);
        let message = wire::v2c("", name, &question(&own));
        let pace = Pace { first: ASK_FIRST, max: ASK_MAX, seed: rand::random() };
        let mut wrong = None;
        let asked = self
            .bus
            .repeat(&to, &message, pace)
            .until(&mut answers, |received| any::<A>(&received.message).map_err(|error| wrong = Some(error)).ok());
        match tokio::time::timeout(ANSWER_MAX, asked).await {
            Ok(answer) => answer.map_err(text),
            Err(_) => Err(wrong.unwrap_or_else(|| format!("no answer to {topic} within {} s", ANSWER_MAX.as_secs()))),
        }
    }

    async fn take(&mut self, received: Received<C2vMessage>) {
        let update: CronScriptUpdate = match wire::c2v("CronScriptUpdate", &received.message) {
            Ok(update) => update,
            Err(why) => {
                tracing::warn!(sender = received.sender.as_deref(), why, "a message is no change of a script and is dropped");
                return;
            }
        };
        let CronScriptUpdate { msg: Some(change), request_id, timestamp } = update else { return };
        match self.apply(&change, timestamp).await {
            Ok(()) => self.acknowledge(&change, &request_id, &received.message.vizier_id).await,
            // Unanswered, it is said again.
            Err(status) => tracing::debug!(why = status.message(), "a change of a script cannot be kept now"),
        }
    }

    async fn apply(&mut self, change: &Change, timestamp: i64) -> Result<(), Status> {
        let id = match change {
            Change::UpsertReq(request) => request.script.as_ref().map(script_id),
            Change::DeleteReq(request) => request.script_id.map(|id| ScriptId::from_halves(id.high_bits, id.low_bits)),
        };
        let Some(id) = id else { return Ok(()) };
        if self.applied.get(&id).is_some_and(|last| timestamp < *last) {
            return Ok(());
        }
        let mut store = self.metadata.cron_scripts();
        match change {
            Change::UpsertReq(request) => {
                let script: Option<CronScript> = request.script.clone();
                store.add_or_update_script(AddOrUpdateScriptRequest { script }).await?;
            }
            Change::DeleteReq(request) => {
                store.delete_script(DeleteScriptRequest { script_id: request.script_id }).await?;
            }
        }
        if self.applied.len() >= CHANGES_REMEMBERED_MAX {
            self.applied.pop_first();
        }
        self.applied.insert(id, timestamp);
        self.changed.send_modify(|count| *count += 1);
        Ok(())
    }

    async fn acknowledge(&self, change: &Change, request_id: &str, vizier_id: &str) {
        let Ok(topic) = Topic::new(&format!("CronScriptsUpdatesResponse:{request_id}")) else { return };
        let message = match change {
            Change::UpsertReq(_) => {
                wire::v2c(vizier_id, "RegisterOrUpdateCronScriptResponse", &RegisterOrUpdateCronScriptResponse::default())
            }
            Change::DeleteReq(_) => wire::v2c(vizier_id, "DeleteCronScriptResponse", &DeleteCronScriptResponse::default()),
        };
        if let Err(error) = self.bus.publish(&subject::v2c(topic), &message).await {
            tracing::debug!(%error, "a change of a script is not acknowledged; it comes again");
        }
    }
}

/// What an answer holds, whatever its name: it came to a place of its own.
fn any<A: Message + Default>(message: &C2vMessage) -> Result<A, String> {
    let any = message.msg.as_ref().ok_or("an empty answer")?;
    A::decode(any.value.as_slice()).map_err(|error| error.to_string())
}
