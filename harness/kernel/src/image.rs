//! The first and only file system of the machine: busybox, the check, the libraries it is linked against.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::archive::Archive;
use crate::console::MARK;
use crate::kernels::Way;

const BUSYBOX: &str = "/bin/busybox";
const FOLDERS: [&str; 7] = ["/bin", "/dev", "/proc", "/root", "/run", "/sys", "/tmp"];

/// An initramfs that runs `check --way X` for each way and turns the machine off.
pub(crate) fn build(check: &Path, ways: &[Way]) -> Result<Vec<u8>> {
    let read = |path: &Path| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let mut files = vec![
        ("/init".to_owned(), init(ways).into_bytes()),
        (BUSYBOX.to_owned(), read(Path::new(BUSYBOX))?),
        ("/check".to_owned(), read(check)?),
    ];
    for library in libraries(check)? {
        let content = read(Path::new(&library))?;
        files.push((library, content));
    }
    let mut folders: BTreeSet<String> = FOLDERS.iter().map(|folder| (*folder).to_owned()).collect();
    for (path, _) in &files {
        let parents = Path::new(path).ancestors().skip(1).filter(|parent| parent.parent().is_some());
        folders.extend(parents.map(|parent| parent.to_string_lossy().into_owned()));
    }
    let mut archive = Archive::default();
    for folder in &folders {
        archive.directory(folder);
    }
    for (path, content) in &files {
        archive.file(path, content);
    }
    Ok(archive.finish())
}

/// The shared libraries of a program and its loader, as `ldd` finds them; none for a static one.
fn libraries(program: &Path) -> Result<Vec<String>> {
    let output = Command::new("ldd").arg(program).output().context("cannot run ldd")?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.split_whitespace().filter(|word| word.starts_with('/')).map(str::to_owned).collect())
}

fn init(ways: &[Way]) -> String {
    let checks: String =
        ways.iter().fold(String::new(), |text, way| text + &format!("/check --way {way}\necho \"{MARK} way {way} exit $?\"\n"));
    format!(
        "#!{BUSYBOX} sh\n\
         {BUSYBOX} --install -s /bin\n\
         export PATH=/bin\n\
         mount -t proc proc /proc\n\
         mount -t sysfs sysfs /sys\n\
         mount -t devtmpfs devtmpfs /dev\n\
         mount -t tracefs tracefs /sys/kernel/tracing\n\
         mount -t cgroup2 cgroup2 /sys/fs/cgroup\n\
         ip link set lo up\n\
         echo \"{MARK} release $(uname -r)\"\n\
         {checks}\
         poweroff -f\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_is_checked_before_the_machine_goes_off() {
        let text = init(&[Way::SocketLayer, Way::SyscallExit]);
        assert!(
            text.ends_with("/check --way a\necho \"px-vm: way a exit $?\"\n/check --way b\necho \"px-vm: way b exit $?\"\npoweroff -f\n")
        );
    }

    #[test]
    fn a_program_is_carried_with_its_loader() {
        let libraries = libraries(&std::env::current_exe().unwrap()).unwrap();
        assert!(libraries.iter().any(|library| library.contains("ld-linux")), "{libraries:?}");
        assert!(libraries.iter().any(|library| library.contains("libc.so")), "{libraries:?}");
    }
}
