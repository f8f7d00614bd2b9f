//! `px get pems` and `px debug`, over a real broker with an engine, and whoever answers it about pods over the bus.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::process::{Command, Stdio};
use std::sync::Arc;

use api::cvmsgspb::c2vapi_stream_request::Msg as Ask;
use api::cvmsgspb::v2capi_stream_response::Msg as Answer;
use api::cvmsgspb::{C2vapiStreamRequest, V2capiStreamResponse};
use api::vizierpb::{
    ContainerState, ContainerStatus, DebugLogRequest, DebugLogResponse, DebugPodsResponse, PodPhase, Status as WireStatus, VizierPodStatus,
};
use bus::{Hub, Subject};
use engine::{Engine, EngineArgs};
use ids::{AgentId, Asid, ClusterId, UnixNs};
use query_broker::{
    AgentFact, AgentHealth, Broker, ClusterIdentity, CronRunFact, Facts, LocalEngine, PODS_SUBJECT, TableFact, TracepointFact, serve,
};
use rpc::Security;
use table_store::TableStore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const START: UnixNs = UnixNs(1_700_000_000_000_000_000);

/// A node, and a Kelvin that is not heard.
struct Two;

impl Facts for Two {
    fn agents(&self) -> Result<Vec<AgentFact>, String> {
        let agent = |number: u32, collects_data, health| AgentFact {
            id: AgentId::from_halves(7, u64::from(number)),
            asid: Asid(number),
            collects_data,
            hostname: format!("node-{number}"),
            ip_address: format!("10.0.0.{number}"),
            health,
            created: START,
            silent_ns: 1_500_000_000,
            kernel_headers_installed: true,
            profiler_period_ms: 11,
            version: "0.1.0".to_owned(),
        };
        Ok(vec![agent(1, true, AgentHealth::Healthy), agent(2, false, AgentHealth::Unresponsive)])
    }

    fn tables(&self) -> Vec<TableFact> {
        vec![]
    }

    fn tracepoints(&self) -> Result<Vec<TracepointFact>, String> {
        Ok(vec![])
    }

    fn cron_runs(&self) -> Result<Vec<CronRunFact>, String> {
        Ok(vec![])
    }

    fn kept(&self, _prefix: &str, _proto: &str) -> Result<Vec<(String, String)>, String> {
        Ok(vec![])
    }

    fn version(&self) -> (Asid, String) {
        (Asid(2), "0.1.0".to_owned())
    }
}

struct World {
    address: String,
    hub: Hub,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl World {
    async fn new() -> World {
        let (stop, tasks, hub) = (CancellationToken::new(), TaskTracker::new(), Hub::new());
        let store = TableStore::empty(1024 * 1024);
        let engine = Engine::new(Arc::new(store), Arc::new(funcs::registry(&funcs::Environment::default())), EngineArgs::default());
        let engine = LocalEngine::new(Arc::new(engine), || START).facts(Arc::new(Two));
        let identity = ClusterIdentity {
            id: ClusterId::from_halves(1, 2),
            name: "one".to_owned(),
            vizier_version: String::new(),
            cluster_version: String::new(),
        };
        let broker = Broker::new(Arc::new(engine), identity, stop.clone(), tasks.clone());
        broker.connect(hub.connect("query-broker").unwrap());
        let listener = rpc::bind("127.0.0.1:0".parse().unwrap(), &Security::Plaintext).await.unwrap();
        let address = listener.address().to_string();
        tasks.spawn(serve(broker, listener, Security::Plaintext));
        World { address, hub, stop, tasks }
    }

    /// Somebody on the bus who knows of pods, as the cloud connector does in Kubernetes.
    async fn with_pods(self) -> World {
        let bus = self.hub.connect("cloud-connector").unwrap();
        let subject: Subject<C2vapiStreamRequest> = Subject::named(PODS_SUBJECT).unwrap();
        let mut questions = bus.subscribe(&subject).await.unwrap();
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            while let Some(Some(question)) = stop.run_until_cancelled(questions.next()).await {
                let msg = match question.message.msg.clone() {
                    Some(Ask::DebugPodsReq(_)) => Answer::DebugPodsResp(pods()),
                    Some(Ask::DebugLogReq(request)) => log(&request),
                    other => panic!("{other:?}"),
                };
                bus.answer(&question, &V2capiStreamResponse { msg: Some(msg), ..Default::default() }).await.unwrap();
            }
        });
        self
    }

    async fn px(&self, words: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_px"));
        command.args(["--addr", &self.address]).args(words).env_clear().stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

fn pods() -> DebugPodsResponse {
    let pod = |name: &str, phase: PodPhase, restart_count| VizierPodStatus {
        name: name.to_owned(),
        phase: phase as i32,
        message: "two\nlines".to_owned(),
        created_at: START.0,
        restart_count,
        container_statuses: vec![ContainerStatus {
            name: "app".to_owned(),
            container_state: ContainerState::Waiting as i32,
            reason: "CrashLoopBackOff".to_owned(),
            restart_count,
            ..Default::default()
        }],
        ..Default::default()
    };
    DebugPodsResponse {
        data_plane_pods: vec![pod("pl/vizier-pem-x", PodPhase::Running, 0)],
        control_plane_pods: vec![pod("pl/kelvin-y", PodPhase::Pending, 3)],
    }
}

fn log(request: &DebugLogRequest) -> Answer {
    if request.pod_name == "pl/vizier-pem-x" {
        let data = format!("started, previous: {}, container: {:?}\nand on", request.previous, request.container);
        return Answer::DebugLogResp(DebugLogResponse { data });
    }
    Answer::Status(WireStatus { code: 5, message: format!("there is no pod {}", request.pod_name), ..Default::default() })
}

/// The cells of each line, which two spaces part.
fn cells(text: &str) -> Vec<Vec<&str>> {
    text.lines().map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_are_listed_for_people_and_for_programs() {
    let world = World::new().await;
    for word in ["pems", "pem", "agents"] {
        let (code, out, err) = world.px(&["get", word, "-o", "json"]).await;
        assert_eq!(code, 0, "{word}: {err}");
        let rows: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let told: Vec<_> = rows.iter().map(|row| (row["hostname"].as_str().unwrap(), row["agent_state"].as_str().unwrap())).collect();
        assert_eq!(told, [("node-1", "AGENT_STATE_HEALTHY"), ("node-2", "AGENT_STATE_UNRESPONSIVE")], "{out}");
        assert_eq!((&rows[0]["_table_"], &rows[0]["asid"]), (&"agents".into(), &1.into()));
    }
    let (code, out, err) = world.px(&["get", "pems"]).await;
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("node-1") && out.contains("10.0.0.1"), "{out}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_and_containers_are_listed_by_their_plane() {
    let world = World::new().await.with_pods().await;
    let (code, out, err) = world.px(&["debug", "pods"]).await;
    assert_eq!(code, 0, "{err}");
    let lines = cells(&out);
    assert_eq!(lines[0], ["NAME", "PHASE", "RESTARTS", "MESSAGE", "REASON", "START TIME"]);
    assert_eq!(lines[1], ["pl/kelvin-y", "PENDING", "3", "two lines", "2023-11-14T22:13:20Z"]);
    assert_eq!(lines[2][..3], ["pl/vizier-pem-x", "RUNNING", "0"]);
    let (_, of_data_plane, _) = world.px(&["debug", "pods", "--plane", "data"]).await;
    assert!(of_data_plane.contains("vizier-pem") && !of_data_plane.contains("kelvin"), "{of_data_plane}");
    let (code, containers, err) = world.px(&["debug", "containers"]).await;
    assert_eq!(code, 0, "{err}");
    assert_eq!(cells(&containers)[1], ["app", "pl/kelvin-y", "WAITING", "3", "CrashLoopBackOff"]);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_line_of_a_log_names_its_pod_and_one_that_is_not_there_is_an_error() {
    let world = World::new().await.with_pods().await;
    let (code, out, err) = world.px(&["debug", "log", "pl/vizier-pem-x", "--previous", "--container", "app"]).await;
    assert_eq!(code, 0, "{err}");
    assert_eq!(out, "[pl/vizier-pem-x] started, previous: true, container: \"app\"\n[pl/vizier-pem-x] and on\n");
    let (code, out, err) = world.px(&["debug", "log", "pl/nobody"]).await;
    assert_eq!((code, out.as_str(), err.contains("there is no pod pl/nobody")), (1, "", true), "{err}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nobody_knows_of_pods_it_is_said() {
    let world = World::new().await;
    for words in [&["debug", "pods"][..], &["debug", "log", "pl/vizier-pem-x"]] {
        let (code, out, err) = world.px(words).await;
        assert_eq!((code, out.as_str()), (1, ""));
        assert!(err.contains("this Vizier does not know of pods: no cloud connector runs in Kubernetes here"), "{err}");
    }
    world.stop().await;
}
