//! Where the threads of this process are: what the kernel tells of each, and the calls of the one that asks.

use std::backtrace::Backtrace;
use std::fmt::Write as _;
use std::path::Path;

/// Threads that are told; a process has some dozen.
const THREADS_MAX: usize = 1_000;

/// A text for each thread, by number: its name, its state, what it waits for in the kernel (of which root may read the whole stack), and the
/// calls of the thread that answers. The calls of the others nobody can read without stopping them.
pub(crate) fn stacks() -> Result<Vec<String>, String> {
    let tasks = std::fs::read_dir("/proc/self/task").map_err(|error| format!("cannot read /proc/self/task: {error}"))?;
    let mut threads: Vec<u32> = tasks.filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok()).collect();
    threads.sort_unstable();
    // The link's last part: `self/task/<thread>`.
    let own = std::fs::read_link("/proc/thread-self").ok().and_then(|link| link.file_name()?.to_str()?.parse().ok());
    let calls = Backtrace::force_capture().to_string();
    Ok(threads.into_iter().take(THREADS_MAX).map(|thread| stack(thread, (own == Some(thread)).then_some(calls.as_str()))).collect())
}

/// A thread may end meanwhile; then little is told of it.
fn stack(thread: u32, calls: Option<&str>) -> String {
    let folder = Path::new("/proc/self/task").join(thread.to_string());
    let read = |file: &str| std::fs::read_to_string(folder.join(file)).map(|text| text.trim_end().to_owned()).unwrap_or_default();
    let state = read("status").lines().find_map(|line| line.strip_prefix("State:")).unwrap_or("unknown").trim().to_owned();
    let mut text = format!("thread {thread} {}: {state}", read("comm"));
    let waits = read("wchan");
    // Writing to a String cannot fail.
    if !waits.is_empty() && waits != "0" {
        let _ = write!(text, "\nwaits in {waits}");
    }
    let kernel = read("stack");
    if !kernel.is_empty() {
        let _ = write!(text, "\nin the kernel:\n{kernel}");
    }
    if let Some(calls) = calls {
        let _ = write!(text, "\ncalls:\n{}", calls.trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thread_is_told_and_the_one_that_asks_with_its_calls() {
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let waiting = std::thread::Builder::new().name("idler".to_owned()).spawn(move || wait.recv().is_ok()).unwrap();
        let stacks = loop {
            let stacks = stacks().unwrap();
            // A thread takes its name when it begins.
            if stacks.iter().any(|stack| stack.contains(" idler: ")) {
                break stacks;
            }
        };
        drop(go);
        assert!(!waiting.join().unwrap());
        let own: Vec<_> = stacks.iter().filter(|stack| stack.contains("\ncalls:\n")).collect();
        assert!(own.len() == 1 && own[0].contains("own_threads"), "{own:?}");
    }
}
