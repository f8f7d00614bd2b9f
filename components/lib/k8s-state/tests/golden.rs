//! The pinned cases of golden/k8s-state.

mod support;

use std::fmt::Write as _;

use anyhow::{Result, bail};
use ids::UnixNs;
use k8s_state::{Change, ContainerId, Limits, Moment, Outcome, Record, Scope, State, Uid};
use support::{Line, kind, seconds};

#[test]
fn events_answer_questions_as_expected() {
    golden::run("k8s-state", |case| case.expect("answers.txt", &run(&case.input("events.txt")?)?));
}

fn run(script: &str) -> Result<String> {
    let (mut state, mut out) = (State::new(Limits::default()), String::new());
    let mut lines = script.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')).peekable();
    while let Some(text) = lines.next() {
        let line = Line::new(text);
        if line.word(0)? == "ask" {
            writeln!(out, "{text}\n    {}", answer(&state, &line)?)?;
            continue;
        }
        if line.word(0)? == "limits" {
            let retention = line.time("retention")?.map(|time| std::time::Duration::from_nanos(time.0 as u64));
            let bytes = line.all("bytes").next().map(str::parse).transpose()?;
            let default = Limits::default();
            state = State::new(Limits { retention: retention.unwrap_or(default.retention), bytes_max: bytes.unwrap_or(default.bytes_max) });
            continue;
        }
        let at = seconds(line.word(0)?)?;
        let changes = match line.word(1)? {
            "put" => vec![Change::put(line.object(2, at)?, at)],
            "gone" => vec![Change::gone(Uid::new(line.word(2)?), line.version()?, at)],
            "list" => {
                let mut objects = Vec::new();
                while let Some(listed) = lines.next_if(|line| line.starts_with(' ')) {
                    objects.push(Line::new(listed).object(0, at)?);
                }
                let scope = Scope { kind: kind(line.word(2)?)?, namespace: line.all("namespace").next().map(Into::into) };
                let changes = state.view().differences(&scope, line.version()?, objects, at);
                let all = changes.iter().map(summary).collect::<Vec<_>>().join(", ");
                writeln!(out, "{text}\n    {}", if all.is_empty() { "nothing" } else { &all })?;
                changes
            }
            "expire" => {
                state.expire(at);
                vec![]
            }
            other => bail!("nothing is called `{other}`"),
        };
        for change in changes {
            let outcome = state.apply(&change);
            if outcome != Outcome::Applied {
                writeln!(out, "{text}\n    {outcome:?}")?;
            }
        }
    }
    // A state that begins with these records is the same one.
    let again = State::restore(Limits::default(), state.view().records().cloned());
    anyhow::ensure!(again.snapshot() == state.snapshot(), "the records do not give the same snapshot");
    Ok(out)
}

fn summary(change: &Change) -> String {
    match change {
        Change::Put { object, .. } => format!("put {}", object.meta().uid),
        Change::Gone { uid, .. } => format!("gone {uid}"),
    }
}

fn answer(state: &State, line: &Line<'_>) -> Result<String> {
    let (view, what) = (state.view(), line.word(2).unwrap_or_default());
    let moment = line.time("at")?.map_or(Moment::Latest, Moment::At);
    let (namespace, name) = what.split_once('/').unwrap_or(("", what));
    let one = |record: Option<&Record>| record.map_or("none".to_owned(), show);
    let services = |found: Vec<k8s_state::Found<'_, k8s_state::Service>>| match &found[..] {
        [] => "none".to_owned(),
        found => found.iter().map(|service| show(service.record)).collect::<Vec<_>>().join("; "),
    };
    Ok(match line.word(1)? {
        "uid" => one(view.record(&Uid::new(what))),
        "pod" => one(view.pod_named(namespace, name, moment).map(|found| found.record)),
        "service" => one(view.service_named(namespace, name, moment).map(|found| found.record)),
        "node" => one(view.node_named(name, moment).map(|found| found.record)),
        "namespace" => one(view.namespace_named(name, moment).map(|found| found.record)),
        "replicaset" => one(view.replica_set_named(namespace, name, moment).map(|found| found.record)),
        "deployment" => one(view.deployment_named(namespace, name, moment).map(|found| found.record)),
        "address" => one(view.pod_of_address(what.parse()?, moment).map(|found| found.record)),
        "node-address" => one(view.node_of_address(what.parse()?, moment).map(|found| found.record)),
        "service-address" => services(view.services_of_address(what.parse()?, moment)),
        "services" => services(view.services_of_pod(&Uid::new(what), moment)),
        "owners" => {
            let owners = view.owners(&Uid::new(what));
            let owners = if owners.is_empty() { return Ok("none".to_owned()) } else { owners };
            owners.iter().map(|owner| format!("{} {} ({})", owner.kind, owner.name, owner.uid)).collect::<Vec<_>>().join(" of ")
        }
        "container" => view.container(&ContainerId::new(what)).map_or("none".to_owned(), |(container, pod)| {
            let ended = container.stopped.map(|time| format!(", ended {}", time_text(time))).unwrap_or_default();
            format!("{} of {}{ended}", container.name, show(pod.record))
        }),
        "metrics" => format!("{:?}", state.metrics()),
        other => bail!("nobody can answer `{other}`"),
    })
}

fn show(record: &Record) -> String {
    let meta = record.object.meta();
    let name = if meta.namespace.is_empty() { meta.name.to_string() } else { format!("{}/{}", meta.namespace, meta.name) };
    let gone = record.gone.map(|time| format!(", gone {}", time_text(time))).unwrap_or_default();
    format!("{:?} {name} ({}){gone}", record.kind(), meta.uid)
}

fn time_text(time: UnixNs) -> String {
    format!("{}s", time.0 / 1_000_000_000)
}
