//! `px debug`.

use std::io::Write as _;
use std::process::ExitCode;

use api::vizierpb::{ContainerState, DebugLogRequest, PodPhase, VizierPodStatus};
use client::Client;
use jiff::Timestamp;

use crate::args::{Args, DebugCommand, Plane};
use crate::session::Target;
use crate::table_output::columns;
use crate::{Error, Terminal};

pub(crate) async fn run(args: &Args, command: &DebugCommand, terminal: &mut Terminal) -> Result<ExitCode, Error> {
    match command {
        DebugCommand::Log { pod, previous, container, cluster } => {
            let target = Target::choose(args, cluster.as_deref()).await?;
            let request =
                DebugLogRequest { cluster_id: target.cluster(), pod_name: pod.clone(), previous: *previous, container: container.clone() };
            log(&target, request, terminal).await?;
        }
        DebugCommand::Pods { plane, cluster } => {
            let pods = pods(args, *plane, cluster.as_deref()).await?;
            let header = ["NAME", "PHASE", "RESTARTS", "MESSAGE", "REASON", "START TIME"];
            print(&header, pods.iter().map(pod), terminal)?;
        }
        DebugCommand::Containers { plane, cluster } => {
            let pods = pods(args, *plane, cluster.as_deref()).await?;
            let header = ["NAME", "POD", "STATE", "RESTARTS", "MESSAGE", "REASON", "START TIME"];
            print(&header, pods.iter().flat_map(containers), terminal)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn log(target: &Target, request: DebugLogRequest, terminal: &mut Terminal) -> Result<(), Error> {
    let failed = |source| target.failed(source);
    let mut client = Client::connect(&target.address, &target.access).await.map_err(failed)?;
    let pod = request.pod_name.clone();
    let mut pieces = client.debug_log(request).await.map_err(failed)?;
    let mut at_line_start = true;
    while let Some(piece) = pieces.message().await.map_err(|status| failed(status.into()))? {
        // A piece need not end where a line does.
        for line in piece.data.split_inclusive('\n') {
            if at_line_start {
                write!(terminal.stdout, "[{pod}] ").map_err(Error::output)?;
            }
            terminal.stdout.write_all(line.as_bytes()).map_err(Error::output)?;
            at_line_start = line.ends_with('\n');
        }
    }
    if at_line_start { Ok(()) } else { writeln!(terminal.stdout).map_err(Error::output) }
}

async fn pods(args: &Args, plane: Plane, cluster: Option<&str>) -> Result<Vec<VizierPodStatus>, Error> {
    let target = Target::choose(args, cluster).await?;
    let failed = |source| target.failed(source);
    let mut client = Client::connect(&target.address, &target.access).await.map_err(failed)?;
    let answer = client.debug_pods(&target.cluster()).await.map_err(failed)?;
    Ok(match plane {
        Plane::Data => answer.data_plane_pods,
        Plane::Control => answer.control_plane_pods,
        Plane::All => answer.control_plane_pods.into_iter().chain(answer.data_plane_pods).collect(),
    })
}

fn print(header: &[&str], rows: impl Iterator<Item = Vec<String>>, terminal: &mut Terminal) -> Result<(), Error> {
    let header = header.iter().map(|name| (*name).to_owned()).collect();
    let shown = |text: String| text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let rows = rows.map(|row| row.into_iter().map(shown).collect());
    let text = columns(&std::iter::once(header).chain(rows).collect::<Vec<Vec<String>>>());
    terminal.stdout.write_all(text.as_bytes()).map_err(Error::output)
}

fn pod(pod: &VizierPodStatus) -> Vec<String> {
    let phase = PodPhase::try_from(pod.phase).unwrap_or_default().as_str_name().to_owned();
    vec![pod.name.clone(), phase, pod.restart_count.to_string(), pod.message.clone(), pod.reason.clone(), time(pod.created_at)]
}

fn containers(pod: &VizierPodStatus) -> Vec<Vec<String>> {
    let container = |container: &api::vizierpb::ContainerStatus| {
        let state = ContainerState::try_from(container.container_state).unwrap_or_default();
        let state = state.as_str_name().trim_start_matches("CONTAINER_STATE_").to_owned();
        let started = time(container.start_timestamp_ns);
        let restarts = container.restart_count.to_string();
        vec![container.name.clone(), pod.name.clone(), state, restarts, container.message.clone(), container.reason.clone(), started]
    };
    pod.container_statuses.iter().map(container).collect()
}

fn time(ns: i64) -> String {
    if ns == 0 {
        return String::new();
    }
    Timestamp::from_nanosecond(i128::from(ns)).map(|time| format!("{time:.0}")).unwrap_or_default()
}
