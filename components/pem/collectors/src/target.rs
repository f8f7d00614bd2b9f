//! Whose file is probed.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read as _},
    os::fd::AsRawFd as _,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use crate::{error::Error, nearest::Nearest};

/// Bytes of `/proc/PID/maps` that are read; a process has at most 65,530 mappings unless its machine was told otherwise.
const MAPS_BYTES_MAX: u64 = 16 << 20;

/// The file that a function is in. Process ids are those of the agent's PID namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Binary {
    /// The program that a process runs.
    Executable {
        /// The process.
        pid: u32,
    },
    /// A shared object that a process has mapped.
    SharedObject {
        /// The process.
        pid: u32,
        /// The file's name, its name up to `.so` or `-`, or the end of its path.
        name: String,
    },
    /// A file, by its path as the agent sees it.
    File(PathBuf),
}

/// A file that is open: what is read from it and what is probed is the same one, whatever happens to its path.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) file: File,
    /// How it is called: where its process found it.
    pub(crate) path: PathBuf,
}

impl Target {
    pub(crate) fn open(binary: &Binary) -> Result<Target, Error> {
        match binary {
            Binary::Executable { pid } => {
                let link = process(*pid)?.join("exe");
                // A kernel thread has none.
                let path = std::fs::read_link(&link).unwrap_or_else(|_| link.clone());
                open(&link).map(|file| Target { file, path: path.clone() }).map_err(|source| Error::NoFile { path, source })
            }
            Binary::SharedObject { pid, name } => shared_object(*pid, name),
            Binary::File(path) => {
                open(path).map(|file| Target { file, path: path.clone() }).map_err(|source| Error::NoFile { path: path.clone(), source })
            }
        }
    }

    /// A path that leads to this very file while it is open.
    pub(crate) fn link(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }
}

fn process(pid: u32) -> Result<PathBuf, Error> {
    let folder = PathBuf::from(format!("/proc/{pid}"));
    if folder.is_dir() { Ok(folder) } else { Err(Error::NoProcess { pid }) }
}

/// Opens a file, and nothing that is none: opening a pipe would wait.
fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let file = std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")) }
}

fn shared_object(pid: u32, name: &str) -> Result<Target, Error> {
    let folder = process(pid)?;
    let maps = folder.join("maps");
    let mut text = Vec::new();
    let read = File::open(&maps).and_then(|file| file.take(MAPS_BYTES_MAX).read_to_end(&mut text));
    read.map_err(|source| Error::NoFile { path: maps, source })?;
    let mapped: Vec<Mapping<'_>> = text.split(|byte| *byte == b'\n').filter_map(mapping).collect();
    let Some(found) = mapped.iter().find(|mapping| is_called(mapping.path, name)) else {
        let names: Vec<_> = mapped.iter().filter_map(|mapping| mapping.path.file_name()?.to_str()).collect();
        return Err(Error::NoObject { pid, name: name.to_owned(), nearest: Nearest::of(name, names.into_iter()) });
    };
    // The mapping leads to the file itself; where that is not permitted, its path in the process' mount namespace does.
    let link = folder.join("map_files").join(OsStr::from_bytes(&found.range()));
    let by_path = || open(&folder.join("root").join(found.path.strip_prefix("/").unwrap_or(found.path)));
    let path = found.path.to_owned();
    open(&link).or_else(|_| by_path()).map(|file| Target { file, path: path.clone() }).map_err(|source| Error::NoFile { path, source })
}

/// A line of `/proc/PID/maps` that has a file.
struct Mapping<'a> {
    start: &'a [u8],
    end: &'a [u8],
    path: &'a Path,
}

impl Mapping<'_> {
    /// As `/proc/PID/map_files` calls it: without leading zeros.
    fn range(&self) -> Vec<u8> {
        let short = |number: &[u8]| {
            let zeros = number.iter().take_while(|digit| **digit == b'0').count().min(number.len().saturating_sub(1));
            number[zeros..].to_vec()
        };
        [short(self.start), short(self.end)].join(&b'-')
    }
}

/// `start-end permissions offset device inode path`; the path may have spaces, and ends with ` (deleted)` if it was.
fn mapping(line: &[u8]) -> Option<Mapping<'_>> {
    let at = line.iter().position(|byte| *byte == b'/')?;
    // Before the path there is no slash.
    let (fields, path) = line.split_at(at);
    let range = fields.split(|byte| *byte == b' ').next()?;
    let dash = range.iter().position(|byte| *byte == b'-')?;
    let path = path.strip_suffix(b" (deleted)").unwrap_or(path);
    Some(Mapping { start: &range[..dash], end: &range[dash + 1..], path: Path::new(OsStr::from_bytes(path)) })
}

/// Whether a name is a file's: `libc.so.6`, `libc` or the end of a path, of `/usr/lib/libc.so.6`.
fn is_called(path: &Path, name: &str) -> bool {
    if name.is_empty() {
        return false;
    }
    if path.ends_with(name.trim_start_matches('/')) {
        return true;
    }
    let file = path.file_name().unwrap_or_default().as_bytes();
    file.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b".so") || rest.starts_with(b"-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_maps_are_read() {
        let told = |line: &str| {
            let mapping = mapping(line.as_bytes())?;
            Some(format!("{} {}", String::from_utf8_lossy(&mapping.range()), mapping.path.display()))
        };
        let line = "00400000-00452000 r-xp 00000000 08:02 173521      /opt/a b/libx.so.1 (deleted)";
        assert_eq!(told(line).as_deref(), Some("400000-452000 /opt/a b/libx.so.1"));
        assert_eq!(told("00000000-00001000 r--p 00000000 08:02 1 /a").as_deref(), Some("0-1000 /a"));
        assert_eq!(told("7ffd3c5e6000-7ffd3c607000 rw-p 00000000 00:00 0 [stack]"), None);
        assert_eq!(told("7ffd3c5e6000-7ffd3c607000 rw-p 00000000 00:00 0 "), None);
        assert_eq!(told("/"), None);
        assert_eq!(told(""), None);
    }

    #[test]
    fn a_shared_object_has_several_names() {
        let is = |name| is_called(Path::new("/usr/lib/x86_64-linux-gnu/libc.so.6"), name);
        for name in ["libc", "libc.so.6", "x86_64-linux-gnu/libc.so.6", "/usr/lib/x86_64-linux-gnu/libc.so.6"] {
            assert!(is(name), "{name}");
        }
        for name in ["", "lib", "libc.so.", "c.so.6", "libcrypt", "gnu/libc.so.6"] {
            assert!(!is(name), "{name}");
        }
        assert!(is_called(Path::new("/lib/libc-2.31.so"), "libc"));
    }

    #[test]
    fn what_is_not_there_is_told_apart() {
        let error = |binary| Target::open(&binary).unwrap_err().to_string();
        assert_eq!(error(Binary::Executable { pid: 0 }), "there is no process 0 in the agent's PID namespace");
        assert_eq!(error(Binary::File("/nowhere".into())), "/nowhere cannot be read");
        assert_eq!(error(Binary::File("/dev/null".into())), "/dev/null cannot be read");
        let own = std::process::id();
        let text = error(Binary::SharedObject { pid: own, name: "libq.so.6".to_owned() });
        assert!(text.starts_with(&format!("process {own} has not mapped a shared object `libq.so.6`; nearest: `lib")), "{text}");
    }

    #[test]
    fn ones_own_program_and_library_are_found() {
        let pid = std::process::id();
        let target = Target::open(&Binary::Executable { pid }).unwrap();
        assert_eq!(target.path, std::env::current_exe().unwrap());
        assert_eq!(std::fs::read_link(target.link()).unwrap(), target.path);
        let library = Target::open(&Binary::SharedObject { pid, name: "libc".to_owned() }).unwrap();
        assert!(library.path.to_string_lossy().contains("/libc"), "{}", library.path.display());
    }
}
