//! A Kelvin in this process, and its callers' side.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use agent::wire::{decode_rows, decode_schema, encode_output};
use agent::{Compute, DIAL_PROTOCOL, Hub, HubArgs, HubCounts};
use anyhow::{Context, Result, bail, ensure};
use api::internal::ExecutePlanRequest;
use api::internal::execute_plan_response::Message;
use api::internal::kelvin_client::KelvinClient;
use api::internal::kelvin_server::KelvinServer;
use engine::distributed::{AgentCatalog, Coordinator, CoordinatorArgs, PLAN_VERSION};
use ids::UnixNs;
use kelvin::{KelvinService, KelvinServiceArgs};
use pxl::{FuncToExecute, FunctionRegistry};
use rpc::{CertificateAuthority, MutualTls, PeerIdentity, Security};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

use crate::agents;

/// Processes that the agents are in.
const PROCESSES: usize = 2;

/// What to run.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub(crate) text: String,
    pub(crate) calls: Vec<FuncToExecute>,
}

/// What a query came to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ran {
    /// From script to last row.
    pub(crate) took: Duration,
    pub(crate) rows: usize,
    /// Agents without an answer.
    pub(crate) missing: usize,
}

/// A Kelvin with so many agents.
pub(crate) struct Vizier {
    hub: Hub,
    agents: usize,
    client: KelvinClient<Channel>,
    functions: Arc<FunctionRegistry>,
    children: Vec<Child>,
    stop: CancellationToken,
    _compute: Compute,
    folder: tempfile::TempDir,
}

impl Vizier {
    /// All agents are connected, and have their rows, when it returns.
    pub(crate) async fn start(agents: usize, rows: u32, functions: Arc<FunctionRegistry>) -> Result<Vizier> {
        let folder = tempfile::tempdir()?;
        let authority = CertificateAuthority::open(&folder.path().join("authority"), &[], SystemTime::now())?;
        let identity = authority.issue_peer(&[], SystemTime::now())?;
        for (name, text) in [("ca.crt", &identity.ca), ("peer.crt", &identity.certificate), ("peer.key", &identity.key)] {
            std::fs::write(folder.path().join(name), text)?;
        }
        let stop = CancellationToken::new();
        let hub = Hub::new(HubArgs::default());
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let agents_address = listener.local_addr()?;
        let (taking, tls, stopped) = (hub.clone(), MutualTls::new(&identity, DIAL_PROTOCOL)?.server(), stop.clone());
        tokio::spawn(async move { taking.serve(listener, tls, stopped).await });
        let compute = Compute::new(2)?;
        let args = CoordinatorArgs { queries_waiting_max: 1000, ..CoordinatorArgs::default() };
        let coordinator = Arc::new(Coordinator::new(Arc::clone(&functions), Arc::new(hub.clone()), args)?);
        let service_args = KelvinServiceArgs { query_time_max: Duration::from_mins(2) };
        let service = KelvinServer::new(KelvinService::new(coordinator, compute.handle().clone(), service_args));
        let client = serve(service, identity, stop.clone()).await?;
        let mut vizier = Vizier { hub, agents, client, functions, children: Vec::new(), stop, _compute: compute, folder };
        let per_process = agents.div_ceil(PROCESSES);
        for first in (0..agents).step_by(per_process) {
            let count = per_process.min(agents - first);
            let child = spawn((first, count), rows, &agents_address.to_string(), vizier.folder.path())?;
            vizier.children.push(child);
        }
        for child in &mut vizier.children {
            let lines = child.stdout.take().context("no output")?;
            let line = BufReader::new(lines).lines().next_line().await?;
            ensure!(line.as_deref() == Some("ready"), "agents do not start: {line:?}");
        }
        Ok(vizier)
    }

    pub(crate) fn counts(&self) -> HubCounts {
        self.hub.counts()
    }

    /// Runs a script as the broker does it.
    pub(crate) async fn run(&self, script: &Script) -> Result<Ran> {
        let start = Instant::now();
        let request = self.request(script)?;
        let mut answers = self.client.clone().execute_plan(request).await?.into_inner();
        let (mut schemas, mut rows) = (Vec::new(), 0);
        while let Some(answer) = answers.message().await? {
            match answer.message.context("an empty message")? {
                Message::Schema(schema) => schemas.push(decode_schema(&schema)?),
                Message::Rows(message) => {
                    let schema = schemas.get(message.output as usize).context("rows before their schema")?;
                    rows += decode_rows(&message, schema)?.num_rows();
                }
                Message::Exported(_) => bail!("rows went elsewhere"),
                Message::End(end) => {
                    return Ok(Ran { took: start.elapsed(), rows, missing: end.missing.len() });
                }
            }
        }
        bail!("a query without an end")
    }

    fn request(&self, script: &Script) -> Result<ExecutePlanRequest> {
        let now = UnixNs(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())?);
        let catalog = AgentCatalog::of_agents();
        let input = pxl::CompileInput::new(&script.text, now, &catalog, &self.functions);
        let compiled = pxl::compile(&pxl::CompileInput { exec_funcs: &script.calls, ..input });
        let compiled = compiled.map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
        let outputs = compiled.outputs.iter().map(encode_output).collect::<Result<_, _>>()?;
        Ok(ExecutePlanRequest {
            query_id: rand::random::<[u8; 16]>().to_vec(),
            plan_version: PLAN_VERSION.to_owned(),
            agent_ids: (0..self.agents).map(|number| agents::id(number).to_bytes().to_vec()).collect(),
            outputs,
            ..Default::default()
        })
    }

    /// The agents go with their standard input.
    pub(crate) async fn stop(mut self) -> Result<()> {
        for child in &mut self.children {
            drop(child.stdin.take());
            child.wait().await?;
        }
        self.stop.cancel();
        Ok(())
    }
}

async fn serve(service: KelvinServer<KelvinService>, identity: PeerIdentity, stop: CancellationToken) -> Result<KelvinClient<Channel>> {
    let client_tls = identity.client_tls();
    let security = Security::Mutual(Box::new(identity));
    let listener = rpc::bind("127.0.0.1:0".parse()?, &security).await?;
    let url = format!("https://localhost:{}", listener.address().port());
    let server = rpc::server(&security)?.add_service(service);
    tokio::spawn(async move { server.serve_with_incoming_shutdown(listener.into_incoming(), stop.cancelled_owned()).await });
    let channel = Endpoint::from_shared(url)?.tls_config(client_tls)?.connect().await?;
    Ok(KelvinClient::new(channel).max_decoding_message_size(usize::MAX))
}

fn spawn((first, count): (usize, usize), rows: u32, kelvin: &str, certificates: &Path) -> Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--first", &first.to_string(), "--count", &count.to_string(), "--rows", &rows.to_string(), "--kelvin", kelvin]);
    command.arg("--certificates").arg(certificates);
    Ok(command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?)
}
