//! Boots other kernels in QEMU and runs the capture tests inside.
//!
//! ```text
//! kernels.toml ── ci/kernels ──► <name>.deb ── vmlinuz ─┐
//! capture-check, its libraries, busybox ── initramfs ───┴─► QEMU ── serial console ──► one verdict for each way of capturing
//! ```

mod archive;
mod boot;
mod console;
mod image;
mod kernels;

pub use boot::{Machine, boot};
pub use console::{Outcome, Verdict};
pub use kernels::{Kernel, Way, all};
