//! Finds out what the kernel has, loads the programs, attaches them.

use aya::{
    Ebpf, EbpfLoader, RawTracePointRunOptions, TestRun as _,
    maps::{Array, MapData},
    programs::{BtfTracePoint, ProgramError, RawTracePoint},
};
use ebpf_abi::{Offsets, Settings as Globals, Whoami};

use crate::{
    Settings, WayChoice,
    btf::Btf,
    decode,
    error::Error,
    offsets, privilege,
    source::Source,
    status::{Collector, State, Status, Way},
};

const BTF_PATH: &str = "/sys/kernel/btf/vmlinux";

/// What runs, and where its events come out.
pub struct Collectors {
    /// One for each collector.
    pub statuses: Vec<Status>,
    /// The events; `None` where nothing runs at all.
    pub source: Option<Source>,
}

impl Collectors {
    /// Loads and attaches what this kernel has. What it has not is told in the statuses, with the remedy.
    pub fn start(settings: &Settings) -> Collectors {
        match load(settings) {
            Ok((mut ebpf, layout)) => {
                let statuses = attach(&mut ebpf, settings.way, &layout);
                match Source::new(ebpf, settings) {
                    Ok(source) => Collectors { statuses, source: Some(source) },
                    Err(error) => Collectors { statuses: all_failed(&error), source: None },
                }
            }
            Err(error) => Collectors { statuses: all_failed(&error), source: None },
        }
    }
}

/// What the kernel's BTF told.
struct Layout {
    offsets: Offsets,
    has_socket_layer: bool,
}

/// Finds out what the programs need to know, for a ring of so many bytes.
fn prepare(ring_bytes: u32) -> Result<(Layout, Globals), Error> {
    privilege::check()?;
    raise_locked_memory();
    let layout = layout()?;
    let who = whoami(&layout.offsets)?;
    let globals = Globals {
        own_tgid: who.tgid,
        pid_level: who.pid_level,
        pid_namespace_inum: who.pid_namespace_inum,
        ring_wake_bytes: ring_bytes / 4,
    };
    Ok((layout, globals))
}

/// The programs of probes on functions.
pub(crate) fn load_function_probes(ring_bytes: u32) -> Result<Ebpf, Error> {
    let (layout, globals) = prepare(ring_bytes)?;
    Ok(EbpfLoader::new()
        .btf(None)
        .override_global("OFFSETS", layout.offsets.as_bytes(), true)
        .override_global("SETTINGS", globals.as_bytes(), true)
        .map_max_entries("RING", ring_bytes)
        .load(ebpf_objects::FUNCTION)?)
}

fn load(settings: &Settings) -> Result<(Ebpf, Layout), Error> {
    let (layout, globals) = prepare(settings.ring_bytes)?;
    let ebpf = EbpfLoader::new()
        .btf(None)
        .override_global("OFFSETS", layout.offsets.as_bytes(), true)
        .override_global("SETTINGS", globals.as_bytes(), true)
        .map_max_entries("RING", settings.ring_bytes)
        .map_max_entries("SOCKETS", settings.sockets_max)
        .map_max_entries("VERDICTS", settings.sockets_max)
        .load(ebpf_objects::CAPTURE)?;
    Ok((ebpf, layout))
}

/// Before 5.11 maps count as locked memory.
fn raise_locked_memory() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    // Refused where the capability is missing: then the maps fit, or the kernel says so.
    let _ = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
}

fn layout() -> Result<Layout, Error> {
    let bytes = std::fs::read(BTF_PATH).map_err(|source| Error::NoBtf { path: BTF_PATH, source })?;
    let btf = Btf::parse(&bytes)?;
    let has = |tracepoint: &str| btf.has_typedef(&format!("btf_trace_{tracepoint}"));
    Ok(Layout { offsets: offsets::from_btf(&btf)?, has_socket_layer: has("sock_send_length") && has("sock_recv_length") })
}

/// Who this process is in the root namespace: only the kernel can tell.
fn whoami(offsets: &Offsets) -> Result<Whoami, Error> {
    const NAME: &str = "whoami";
    let mut ebpf = EbpfLoader::new().btf(None).override_global("OFFSETS", offsets.as_bytes(), true).load(ebpf_objects::WHOAMI)?;
    let refused = |source: ProgramError| Error::Program { program: NAME, source };
    let program: &mut RawTracePoint = ebpf.program_mut(NAME).ok_or(Error::Missing { name: NAME })?.try_into().map_err(refused)?;
    program.load().map_err(refused)?;
    program.test_run(RawTracePointRunOptions::new()).map_err(refused)?;
    let map_error = |source| Error::Map { map: "WHOAMI", source };
    let answer: Array<MapData, [u8; size_of::<Whoami>()]> =
        ebpf.take_map("WHOAMI").ok_or(Error::Missing { name: "WHOAMI" })?.try_into().map_err(map_error)?;
    let bytes = answer.get(&0, 0).map_err(map_error)?;
    decode::read::<Whoami>(&bytes).filter(|who| who.written == 1).ok_or(Error::Missing { name: "answer of `whoami`" })
}

fn attach(ebpf: &mut Ebpf, choice: WayChoice, layout: &Layout) -> Vec<Status> {
    let state = attach_raw(ebpf, "set_state", "inet_sock_set_state").map(|()| None);
    let process = attach_raw(ebpf, "process_exec", "sched_process_exec")
        .and_then(|()| attach_raw(ebpf, "process_exit", "sched_process_exit"))
        .map(|()| None);
    let data = attach_data(ebpf, choice, layout).map(Some);
    vec![status(Collector::SocketData, data), status(Collector::SocketState, state), status(Collector::Process, process)]
}

fn status(collector: Collector, outcome: Result<Option<Way>, Error>) -> Status {
    let state = match outcome {
        Ok(way) => State::Running { way },
        Err(error) => failed(&error),
    };
    Status { collector, state }
}

fn all_failed(error: &Error) -> Vec<Status> {
    [Collector::SocketData, Collector::SocketState, Collector::Process].map(|collector| Status { collector, state: failed(error) }).to_vec()
}

fn failed(error: &Error) -> State {
    let mut reason = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        reason = format!("{reason}: {next}");
        cause = next.source();
    }
    State::Failed { reason, remedy: error.remedy() }
}

fn attach_data(ebpf: &mut Ebpf, choice: WayChoice, layout: &Layout) -> Result<Way, Error> {
    match choice {
        WayChoice::SocketLayer => attach_socket_layer(ebpf, layout),
        WayChoice::CallExit => attach_raw(ebpf, "sys_exit", "sys_exit").map(|()| Way::CallExit),
        WayChoice::Auto => attach_socket_layer(ebpf, layout).or_else(|first| {
            if layout.has_socket_layer {
                tracing::warn!(reason = %first, "socket layer tracepoints cannot be used, falling back to the exit of system calls");
            }
            attach_raw(ebpf, "sys_exit", "sys_exit").map(|()| Way::CallExit)
        }),
    }
}

fn attach_socket_layer(ebpf: &mut Ebpf, layout: &Layout) -> Result<Way, Error> {
    if !layout.has_socket_layer {
        return Err(Error::NoHook { tracepoint: "sock_send_length" });
    }
    let btf = aya::Btf::from_sys_fs().map_err(aya::EbpfError::from)?;
    for (name, tracepoint) in [("sock_send", "sock_send_length"), ("sock_receive", "sock_recv_length")] {
        let refused = |source: ProgramError| Error::Program { program: name, source };
        let program: &mut BtfTracePoint = ebpf.program_mut(name).ok_or(Error::Missing { name })?.try_into().map_err(refused)?;
        program.load(tracepoint, &btf).map_err(refused)?;
    }
    // Both are accepted before either is attached: half a connection is worse than another way.
    for name in ["sock_send", "sock_receive"] {
        let refused = |source: ProgramError| Error::Program { program: name, source };
        let program: &mut BtfTracePoint = ebpf.program_mut(name).ok_or(Error::Missing { name })?.try_into().map_err(refused)?;
        program.attach().map_err(refused)?;
    }
    Ok(Way::SocketLayer)
}

fn attach_raw(ebpf: &mut Ebpf, name: &'static str, tracepoint: &'static str) -> Result<(), Error> {
    let refused = |source: ProgramError| Error::Program { program: name, source };
    let program: &mut RawTracePoint = ebpf.program_mut(name).ok_or(Error::Missing { name })?.try_into().map_err(refused)?;
    program.load().map_err(refused)?;
    program.attach(tracepoint).map_err(refused)?;
    Ok(())
}
