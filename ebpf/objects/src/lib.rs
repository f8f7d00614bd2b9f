//! The compiled BPF programs, embedded. The only crate that needs the BPF toolchain.

/// Aligned as the ELF reader wants it.
#[repr(C, align(32))]
struct Aligned<Bytes: ?Sized>(Bytes);

static CAPTURE_ALIGNED: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("PX_BPF_OBJECTS"), "/capture")));
static FUNCTION_ALIGNED: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("PX_BPF_OBJECTS"), "/function")));
static WHOAMI_ALIGNED: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("PX_BPF_OBJECTS"), "/whoami")));

/// The programs that capture: socket data both ways, socket state, processes.
pub static CAPTURE: &[u8] = &CAPTURE_ALIGNED.0;

/// The programs of probes on functions.
pub static FUNCTION: &[u8] = &FUNCTION_ALIGNED.0;

/// The program that tells the agent who it is.
pub static WHOAMI: &[u8] = &WHOAMI_ALIGNED.0;
