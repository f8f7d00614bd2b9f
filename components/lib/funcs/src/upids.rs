//! Processes, and where functions run.

use std::borrow::Cow;
use std::sync::Arc;

use ids::{Asid, Upid};
use pxl::{RunsOn, SemanticRule};
use tables::SemanticType as St;

use crate::builder::Builder;
use crate::environment::Environment;
use crate::kernel::{Int, Text, Time, Wide, binary, nullary, ternary, unary};

fn upid(value: u128) -> Upid {
    Upid::from_be_bytes(value.to_be_bytes())
}

/// Numbers beyond 32 bits lose their upper half, as in the original.
fn make(asid: i64, pid: i64, start: i64) -> u128 {
    u128::from_be_bytes(Upid::new(Asid(asid as u32), pid as u32, start as u64).to_be_bytes())
}

pub(crate) fn add(b: &mut Builder, environment: &Environment) {
    let none = || SemanticRule::None;
    b.kernel("upid_to_asid", SemanticRule::Always(St::Asid), unary::<Wide, Int>(|v| i64::from(upid(v).asid().0)));
    b.kernel("upid_to_pid", none(), unary::<Wide, Int>(|v| i64::from(upid(v).pid())));
    b.kernel("upid_to_start_ts", none(), unary::<Wide, Time>(|v| upid(v).start_ticks() as i64));
    b.kernel("upid_to_string", none(), unary::<Wide, Text>(|v| Cow::Owned(upid(v).to_string())));
    let processes = Arc::clone(&environment.processes);
    let cmdline = unary::<Wide, Text>(move |v| Cow::Owned(processes.cmdline(upid(v)).unwrap_or_default()));
    b.kernel_on("upid_to_cmdline", RunsOn::Pem, none(), cmdline);
    let hostname = environment.hostname.clone();
    b.kernel_on("upid_to_hostname", RunsOn::Pem, none(), unary::<Wide, Text>(move |_| Cow::Owned(hostname.clone())));

    let asid = i64::from(environment.asid.0);
    b.kernel_here("asid", SemanticRule::Always(St::Asid), nullary::<Int>(move || asid));
    b.kernel("upid", SemanticRule::Always(St::Upid), ternary::<Int, Int, Int, Wide>(make));
    b.kernel("upid", SemanticRule::Always(St::Upid), binary::<Int, Int, Wide>(move |pid, start| make(asid, pid, start)));
    let cpus = i64::from(environment.cpus);
    b.kernel_here("_exec_host_num_cpus", none(), nullary::<Int>(move || cpus));
    for (name, text) in [
        ("_exec_hostname", &environment.hostname),
        ("vizier_id", &environment.vizier_id),
        ("vizier_name", &environment.vizier_name),
        ("vizier_namespace", &environment.vizier_namespace),
    ] {
        let text = text.clone();
        b.kernel_here(name, none(), nullary::<Text>(move || Cow::Owned(text.clone())));
    }
}
