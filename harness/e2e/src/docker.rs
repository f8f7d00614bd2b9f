use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use crate::process::{Process, eventually};

/// The image that all containers run: empty folders. Programs and their libraries are the machine's own, mounted read-only.
const IMAGE: &str = "empty";

/// Where programs find their libraries.
const SYSTEM_FOLDERS: [&str; 5] = ["/usr", "/bin", "/lib", "/lib64", "/etc"];

/// A Docker engine of the test's own, ending with it: sockets, images and containers of the machine's engine are neither used nor touched.
#[derive(Debug)]
pub struct Docker {
    // Ends before its folder goes.
    process: Process,
    folder: TempDir,
}

impl Docker {
    /// Starts it. It has no network of its own: containers have the host's, or none.
    ///
    /// # Errors
    /// If it is not installed, or does not start; its log is part of the message.
    pub fn start() -> Result<Docker> {
        let folder = tempfile::tempdir()?;
        let at = |name: &str| folder.path().join(name);
        let log = std::fs::File::create(at("log"))?;
        let mut dockerd = Command::new("dockerd");
        dockerd.args(["--bridge=none", "--iptables=false", "--ip6tables=false", "--storage-driver=vfs", "--data-root"]);
        dockerd.arg(at("data")).arg("--exec-root").arg(at("exec")).arg("--pidfile").arg(at("pid"));
        let mut process = Process::start("dockerd", dockerd.arg("--host").arg(host(folder.path())).stderr(log))?;
        eventually("dockerd serves", || {
            if !process.is_running() {
                bail!("dockerd ended: {}", std::fs::read_to_string(at("log")).unwrap_or_default());
            }
            let info = docker(folder.path()).arg("info").stdout(Stdio::null()).stderr(Stdio::null()).status();
            Ok(info.context("docker")?.success().then_some(()))
        })?;
        let docker = Docker { process, folder };
        docker.import_image()?;
        Ok(docker)
    }

    /// `docker` with arguments that name this engine.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = docker(self.folder.path());
        command.args(arguments);
        command
    }

    /// The words that run a program in a container of this name, on the host's network, with `options` of `docker run`. `folders` are mounted as they are.
    pub fn run(&self, name: &str, options: &[&str], folders: &[&Path]) -> Vec<String> {
        let mut words: Vec<String> = ["docker".to_owned(), "--host".to_owned(), host(self.folder.path())].into();
        words.extend(["run", "--rm", "--network", "host", "--name", name].map(str::to_owned));
        words.extend(options.iter().map(|&option| option.to_owned()));
        let system = SYSTEM_FOLDERS.into_iter().filter(|folder| Path::new(folder).exists()).map(|folder| format!("{folder}:{folder}:ro"));
        let given = folders.iter().map(|folder| format!("{0}:{0}", folder.display()));
        words.extend(system.chain(given).flat_map(|volume| ["--volume".to_owned(), volume]));
        words.push(IMAGE.to_owned());
        words
    }

    /// The same command inside a running container.
    pub fn inside(&self, name: &str, command: &Command) -> Command {
        let mut entered = self.command(&["exec", "--interactive", name]);
        entered.arg(command.get_program()).args(command.get_args());
        entered
    }

    fn import_image(&self) -> Result<()> {
        let root = self.folder.path().join("root");
        for folder in ["dev", "proc", "sys", "tmp"] {
            std::fs::create_dir_all(root.join(folder))?;
        }
        let archive = self.folder.path().join("root.tar");
        let packed = Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(&root).arg(".").status()?;
        let imported = self.command(&["import"]).arg(&archive).arg(IMAGE).stdout(Stdio::null()).status()?;
        if !packed.success() || !imported.success() {
            bail!("the image cannot be imported");
        }
        Ok(())
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // It takes its containers along. The namespace that containers of the host's network share stays mounted, and the folder with it.
        let _ = self.process.stop();
        let _ = Command::new("umount").arg(self.folder.path().join("exec/netns/default")).stderr(Stdio::null()).status();
    }
}

fn host(folder: &Path) -> String {
    format!("unix://{}", folder.join("socket").display())
}

fn docker(folder: &Path) -> Command {
    let mut command = Command::new("docker");
    command.arg("--host").arg(host(folder)).env("DOCKER_CONFIG", folder.join("config"));
    command
}

/// The folder of this test's binary and of the product's: what a container needs to run them.
///
/// # Errors
/// If the test lies in no folder.
pub fn target_folder() -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    Ok(test.parent().and_then(Path::parent).context("the test lies in no target folder")?.to_owned())
}
