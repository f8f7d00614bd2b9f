//! One kernel, one machine, one run.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use crate::console::Outcome;
use crate::image;
use crate::kernels::Kernel;

const QEMU: &str = "qemu-system-x86_64";
/// A boot takes some 10 s and its checks about as long again; QEMU emulates the processor, so a busy machine takes many times that.
const TIME_MAX_S: u32 = 900;
/// What the kernel, the check and the eBPF maps need together, with room.
const MEMORY_MIB: u32 = 1024;
/// More than one: messages of one connection come from several processors.
const PROCESSORS: u32 = 2;

/// What is needed to boot a kernel here.
#[derive(Debug, Clone)]
pub struct Machine {
    package: PathBuf,
}

impl Machine {
    /// Looks for QEMU, busybox and the kernel's package.
    ///
    /// # Errors
    /// Says which of them is missing, and how to get it.
    pub fn find(kernel: &Kernel) -> Result<Machine> {
        for (program, path) in [(QEMU, which(QEMU)), ("busybox", Some(PathBuf::from("/bin/busybox")).filter(|path| path.exists()))] {
            ensure!(path.is_some(), "{program} is not installed: ci/setup --for test");
        }
        let cache = match std::env::var_os("PX_CACHE") {
            Some(cache) => PathBuf::from(cache),
            None => PathBuf::from(std::env::var_os("HOME").context("HOME is not set")?).join(".cache/px"),
        };
        let package = cache.join("kernels").join(format!("{}.deb", kernel.name));
        ensure!(package.exists(), "{} is missing: ci/kernels", package.display());
        Ok(Machine { package })
    }
}

fn which(program: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths).map(|folder| folder.join(program)).find(|path| path.exists())
}

/// Boots a kernel and runs the check once for each of its ways.
///
/// # Errors
/// If the machine cannot be put together or started; what happens inside is the outcome.
pub fn boot(machine: &Machine, kernel: &Kernel, check: &Path) -> Result<Outcome> {
    let folder = tempfile::tempdir().context("cannot make a folder")?;
    let unpacked = Command::new("dpkg-deb").arg("-x").args([&machine.package, folder.path()]).status().context("cannot run dpkg-deb")?;
    ensure!(unpacked.success(), "cannot unpack {}", machine.package.display());
    let initramfs = folder.path().join("initramfs");
    std::fs::write(&initramfs, image::build(check, &kernel.ways)?).context("cannot write the initramfs")?;
    let console = folder.path().join("console");
    let mut command = Command::new("timeout");
    command
        .args(["--kill-after=5", &TIME_MAX_S.to_string(), QEMU])
        // Emulation, also where KVM is offered: nested KVM starts on some hosts and dies in QEMU on others.
        .args(["-accel", "tcg,thread=multi", "-cpu", "max"])
        .args(["-smp", &PROCESSORS.to_string(), "-m", &MEMORY_MIB.to_string()])
        .args(["-display", "none", "-monitor", "none", "-nic", "none", "-no-reboot"])
        .args(["-append", "console=ttyS0 quiet panic=-1"])
        .arg("-serial")
        .arg(format!("file:{}", console.display()))
        .arg("-kernel")
        .arg(image_of(&folder.path().join("boot"))?)
        .arg("-initrd")
        .arg(&initramfs);
    let complaints = folder.path().join("complaints");
    let stderr = File::create(&complaints).context("cannot write")?;
    // Its exit code says nothing that the console does not: a panic, a power-off and the end of time are all ends.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).status().context("cannot run QEMU")?;
    let text = |path: &Path| std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let outcome = Outcome::read(&kernel.ways, text(&console));
    if outcome.console.is_empty() {
        bail!("nothing on the console; QEMU says: {}", text(&complaints));
    }
    Ok(outcome)
}

fn image_of(folder: &Path) -> Result<PathBuf> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("the package has no {}", folder.display()))?;
    let image = entries.flatten().map(|entry| entry.path()).find(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("vmlinuz-")
    });
    image.context("the package has no vmlinuz")
}
