use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use api::vizier::services::metadata::metadata_tracepoint_service_client::MetadataTracepointServiceClient;
use api::vizierpb::vizier_service_server::VizierService;
use api::vizierpb::{Column, ExecuteScriptRequest, ExecuteScriptResponse, column, execute_script_response};
use auth::Bearer;
use futures::StreamExt as _;
use ids::ClusterId;
use parking_lot::Mutex;
use query_broker::{
    Broker, ClusterIdentity, ClusterView, DistributedArgs, DistributedEngine, Metadata, QUALITY_TABLE, Tracker, TrackerHandle,
};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::{Process, channel};
use crate::world::{BEGIN, World};

/// A row of the table that every node has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    /// Whose.
    pub(crate) node: String,
    /// No two rows have the same.
    pub(crate) number: i64,
}

/// What a query answered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    /// The rows, each as often as it came.
    pub(crate) rows: Vec<Row>,
    /// How many rows each node has, counted by the query itself.
    pub(crate) counts: BTreeMap<String, i64>,
    /// Nodes of which the answer says that rows are missing.
    pub(crate) missing: BTreeSet<String>,
}

const QUERY_TIME_MAX: Duration = Duration::from_mins(1);

/// Rows and their number, by two outputs that are made in different ways: one passes all rows on, the other adds up what agents counted.
const SCRIPT: &str = "\
#px:set data_quality=true
#px:set max_output_rows_per_table=1000000
import px
df = px.DataFrame('events')
px.display(df[['node', 'number']], 'rows')
px.display(df.groupby('node').agg(rows=('number', px.count)), 'counts')
";

/// The query broker.
#[derive(Debug)]
pub(crate) struct BrokerPart {
    /// As a process.
    pub(crate) process: Process,
    /// The broker.
    pub(crate) broker: Broker,
    known: TrackerHandle,
    channel: Channel,
    world: Arc<World>,
}

impl BrokerPart {
    /// Starts it. `metadata`: to which replica the service's name leads now.
    pub(crate) fn start(world: &Arc<World>, metadata: &Arc<Mutex<String>>) -> BrokerPart {
        let process = Process::new(world, "broker");
        let leads_to = Arc::clone(metadata);
        let channel = channel(world, &process.name, move || leads_to.lock().clone());
        let service = Metadata::over(channel.clone(), world.key.clone());
        let (tracker, known) = Tracker::seeded(service.clone(), world.draw());
        process.shell.tasks.spawn(tracker.run(process.shell.stop.clone()));
        let (reached, from) = (Arc::clone(world), process.name.clone());
        let connect: query_broker::Connect = Arc::new(move |address, _| {
            let address = address.to_owned();
            Ok(super::channel(&reached, &from, move || address.clone()))
        });
        let engine = DistributedEngine::over(
            (known.clone(), service),
            Arc::new(funcs::registry(&funcs::Environment::default())),
            (connect, world.key.clone()),
            DistributedArgs { query_time_max: QUERY_TIME_MAX, now: || BEGIN },
        );
        let identity = ClusterIdentity {
            id: ClusterId::from_bytes([1; 16]),
            name: "sim".to_owned(),
            vizier_version: String::new(),
            cluster_version: String::new(),
        };
        let broker = Broker::new(Arc::new(engine), identity, process.shell.stop.clone(), process.shell.tasks.clone());
        BrokerPart { process, broker, known, channel, world: Arc::clone(world) }
    }

    /// What it knows of the cluster.
    pub(crate) fn view(&self) -> Option<Arc<ClusterView>> {
        self.known.view()
    }

    /// Why that may be out of date.
    pub(crate) fn stale(&self) -> Option<String> {
        self.known.stale()
    }

    /// The metadata service's tracepoints, over the broker's own connection.
    pub(crate) fn tracepoints(&self) -> MetadataTracepointServiceClient<InterceptedService<Channel, Bearer>> {
        let bearer = Bearer::new(self.world.key.clone(), "query-broker");
        MetadataTracepointServiceClient::new(InterceptedService::new(self.channel.clone(), bearer))
    }

    /// Asks for all rows.
    ///
    /// # Errors
    /// What the client would be told.
    pub(crate) async fn ask(broker: Broker) -> Result<Answer, Status> {
        let request = ExecuteScriptRequest { query_str: SCRIPT.to_owned(), ..ExecuteScriptRequest::default() };
        let mut responses = broker.execute_script(Request::new(request)).await?.into_inner();
        let (mut answer, mut names) = (Answer::default(), BTreeMap::new());
        while let Some(response) = responses.next().await {
            take(response?, &mut answer, &mut names)?;
        }
        Ok(answer)
    }

    /// From one moment to the next.
    pub(crate) fn crash(self) {
        self.process.crash();
    }

    /// As it should. False if it does not end.
    pub(crate) async fn stop(self) -> bool {
        self.process.stop().await
    }
}

fn take(response: ExecuteScriptResponse, answer: &mut Answer, names: &mut BTreeMap<String, (String, Vec<String>)>) -> Result<(), Status> {
    if let Some(status) = response.status.filter(|status| status.code != 0) {
        return Err(Status::new(status.code.into(), status.message));
    }
    match response.result {
        Some(execute_script_response::Result::MetaData(table)) => {
            let columns = table.relation.unwrap_or_default().columns.into_iter().map(|column| column.column_name).collect();
            names.insert(table.id, (table.name, columns));
        }
        Some(execute_script_response::Result::Data(data)) => {
            let Some(batch) = data.batch else { return Ok(()) };
            let Some((name, columns)) = names.get(&batch.table_id) else { return Err(Status::internal("rows of no table")) };
            let column = |name: &str| columns.iter().position(|column| column == name).and_then(|at| batch.cols.get(at));
            match name.as_str() {
                "rows" => answer.rows.extend(pairs(column("node"), column("number")).map(|(node, number)| Row { node, number })),
                "counts" => answer.counts.extend(pairs(column("node"), column("rows"))),
                QUALITY_TABLE => {
                    let whats = texts(column("what"));
                    let missing = texts(column("hostname")).into_iter().zip(whats).filter(|(_, what)| what == "agent_missing");
                    answer.missing.extend(missing.map(|(node, _)| node));
                }
                _ => return Err(Status::internal(format!("rows of {name}"))),
            }
        }
        None => {}
    }
    Ok(())
}

fn pairs(nodes: Option<&Column>, numbers: Option<&Column>) -> impl Iterator<Item = (String, i64)> {
    texts(nodes).into_iter().zip(integers(numbers))
}

fn texts(column: Option<&Column>) -> Vec<String> {
    match column.and_then(|column| column.col_data.as_ref()) {
        Some(column::ColData::StringData(texts)) => texts.data.iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect(),
        _ => vec![],
    }
}

fn integers(column: Option<&Column>) -> Vec<i64> {
    match column.and_then(|column| column.col_data.as_ref()) {
        Some(column::ColData::Int64Data(numbers)) => numbers.data.clone(),
        _ => vec![],
    }
}
