//! What a file of state goes through: a process killed while it writes, a second process, a volume that is full or read-only, other content.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use metadata::Error;
use metadata::store::{Committed, Embedded, Key, Store, Transaction};

/// Tells a test of this file that it is the child of another one, and which file to use.
const CHILD: &str = "PX_METADATA_TEST_FILE";
/// Small enough to be filled at once, large enough for an empty store.
const VOLUME_BYTES: &str = "8m";

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

/// One of the tests below in a process of its own.
fn child(test: &str, path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]).env(CHILD, path).stdout(Stdio::piped());
    command
}

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Writes for ever: two keys with one number in each commit, and says which number was committed. Does nothing unless it is a child.
#[tokio::test]
async fn child_that_writes() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let store = Embedded::open(Path::new(&path)).unwrap();
    let first = number(&store, "/left").await.map_or(0, |number| number + 1);
    for number in first.. {
        let bytes = number.to_be_bytes().to_vec();
        let all = Transaction::new().put(key("/left"), bytes.clone()).put(key(&format!("/filler/{}", number % 50)), vec![7; 20_000]);
        assert_eq!(store.commit(all.put(key("/right"), bytes)).await.unwrap(), Committed::Done);
        println!("committed {number}");
    }
}

async fn number(store: &Embedded, name: &str) -> Option<u64> {
    let value = store.get(&key(name)).await.unwrap()?;
    Some(u64::from_be_bytes(value.try_into().unwrap()))
}

#[tokio::test]
async fn a_process_that_is_killed_while_it_writes_loses_nothing_that_was_committed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let mut last = None;
    for round in 0..6_u64 {
        let mut child = Ended(child("child_that_writes", &path).spawn().unwrap());
        let lines = BufReader::new(child.0.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut said = lines.filter_map(|line| line.rsplit_once("committed ").and_then(|(_, number)| number.parse::<u64>().ok()));
        let committed = said.by_ref().nth(5 + 7 * round as usize).expect("it commits until it is killed");
        child.0.kill().unwrap();
        // What it said before it died counts as well.
        let committed = said.last().unwrap_or(committed);
        child.0.wait().unwrap();

        let store = Embedded::open(&path).unwrap();
        let (left, right) = (number(&store, "/left").await, number(&store, "/right").await);
        assert_eq!(left, right, "a transaction is whole");
        assert!(left.is_some_and(|left| left == committed || left == committed + 1), "{left:?}, and {committed} was committed");
        assert!(left > last);
        last = left;
    }
}

#[tokio::test]
async fn a_file_has_one_process_and_the_other_is_told_which_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let mut child = Ended(child("child_that_writes", &path).spawn().unwrap());
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines().map_while(Result::ok);
    lines.find(|line| line.contains("committed")).expect("it has the file");
    let error = Embedded::open(&path).unwrap_err();
    assert!(matches!(error, Error::Locked { .. }), "{error:?}");
    let expected = format!("{} is in use by another process: stop that one, or give this one a file of its own", path.display());
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn what_is_no_store_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let text = "something else\n".repeat(1000);
    std::fs::write(&path, &text).unwrap();
    let error = Embedded::open(&path).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }) && error.to_string().contains(&path.display().to_string()), "{error:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    let error = Embedded::open(folder.path()).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. } | Error::File { .. }), "{error:?}");
}

#[tokio::test]
async fn a_damaged_file_is_found_when_it_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let store = Embedded::open(&path).unwrap();
    (&store as &dyn Store).put(key("/a"), vec![0xa5; 100_000]).await.unwrap();
    drop(store);
    let mut bytes = std::fs::read(&path).unwrap();
    let inside = bytes.windows(1000).position(|window| window.iter().all(|byte| *byte == 0xa5)).expect("the value is in the file");
    bytes[inside + 500] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let error = Embedded::open(&path).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error:?}");
}

/// Fills its volume, empties it and goes on. Does nothing unless it is a child, on a volume of its own.
#[tokio::test]
async fn child_on_a_small_volume() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let path = Path::new(&path);
    let store = Embedded::open(path).unwrap();
    (&store as &dyn Store).put(key("/before"), vec![1]).await.unwrap();
    let mut failure = None;
    for number in 0..100 {
        if let Err(error) = (&store as &dyn Store).put(key(&format!("/large/{number}")), vec![1; 500_000]).await {
            failure = Some(error);
            break;
        }
    }
    let error = failure.expect("the volume is full");
    assert!(matches!(error, Error::VolumeFull { .. }), "{error:?}");
    println!("said: {error}");
    // As somebody enlarges it.
    assert!(Command::new("mount").args(["-o", "remount,size=64m"]).arg(path.parent().unwrap()).status().unwrap().success());
    (&store as &dyn Store).put(key("/after"), vec![2; 500_000]).await.unwrap();
    assert_eq!(store.get(&key("/before")).await.unwrap(), Some(vec![1]));
    drop(store);
    // As a volume that came back read-only.
    assert!(Command::new("mount").args(["-o", "remount,ro"]).arg(path.parent().unwrap()).status().unwrap().success());
    let error = Embedded::open(path).unwrap_err();
    assert!(matches!(error, Error::Unwritable { .. }), "{error:?}");
    println!("said: {error}");
    println!("the child is done");
}

#[tokio::test]
async fn a_full_volume_is_named_and_the_store_goes_on_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    if !rustix::process::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "needs root to mount a volume");
        println!("skipped: needs root to mount a volume");
        return;
    }
    // The mount is in a namespace of its own, and gone with the child.
    let inner = child("child_on_a_small_volume", &folder.path().join("state"));
    let mut command = Command::new("unshare");
    let script = r#"mount -t tmpfs -o "size=$1" none "$2" && shift 2 && exec "$@""#;
    command.args(["--mount", "sh", "-c", script, "sh", VOLUME_BYTES]).arg(folder.path());
    command.arg(inner.get_program()).args(inner.get_args()).env(CHILD, folder.path().join("state"));
    let output = command.output().unwrap();
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("the child is done"), "{said}\n{errors}");
    let path = folder.path().join("state").display().to_string();
    assert!(said.contains(&format!("the volume of {path} is full")), "{said}");
    assert!(said.contains(&format!("cannot write {path}: mount its volume writable")), "{said}");
}
