//! A tracepoint's life over processes: from a script by the broker and metadata to the agent that has the process, and its rows back.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod support;

use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use fleet::{Process, Store, Way};
use support::World;

/// Calls one function again and again, with a number that grows.
const PROGRAM: &str = r#"
#include <unistd.h>
__attribute__((noinline)) int px_probe_me(int n) { __asm__ volatile("" ::: "memory"); return n * 2; }
int main(void) { for (int i = 0;; i++) { px_probe_me(i); usleep(50000); } }
"#;

/// Ends with its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let outer = i32::try_from(self.0.id()).ok().and_then(Process::of);
        if let Some(process) = outer.and_then(Process::child) {
            let _gone = process.kill();
        }
        let _gone = self.0.kill();
        let _waited = self.0.wait();
    }
}

fn script(upid: &str, name: &str) -> String {
    format!(
        "import px\nimport pxtrace\n\n@pxtrace.probe('{name}')\ndef probe():\n    return [{{'n': pxtrace.ArgExpr('$0')}}, {{'twice': pxtrace.RetExpr('$0')}}]\n\n\
         pxtrace.UpsertTracepoint('{name}', '{name}_table', probe, px.uint128('{upid}'), '5m')\n\
         px.display(px.DataFrame('{name}_table').head(3), 'rows')\n"
    )
}

#[test]
fn a_tracepoint_on_a_process_of_one_node_fills_a_table_of_all() -> Result<()> {
    let Some(mut world) = World::new(2, 1, Store::Embedded)? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let (source, program) = (folder.path().join("program.c"), folder.path().join("program"));
    std::fs::write(&source, PROGRAM)?;
    ensure!(Command::new("gcc").args(["-O0", "-o"]).arg(&program).arg(&source).status().context("gcc")?.success());
    let mut command = world.fleet().command("pem-2", &[program.to_string_lossy().into_owned()])?;
    let _running = Running(command.stdin(Stdio::null()).spawn()?);

    // The process by the node's own number and its start, the node by the agent's.
    let find = "pid=$(pgrep -x program) && echo $pid && cut -d' ' -f22 /proc/$pid/stat".to_owned();
    let found = fleet::eventually("the program on the node", || {
        let output = world.fleet().command("pem-2", &["sh".to_owned(), "-c".to_owned(), find.clone()])?.output()?;
        Ok(output.status.success().then_some(String::from_utf8(output.stdout)?))
    })?;
    let numbers: Vec<u64> = found.lines().map(|line| line.trim().parse().unwrap()).collect();
    let (_, _, asid) = world.agents()?.into_iter().find(|agent| agent.0 == "pem-2").context("the node is known")?;
    let upid = format!("{asid:08x}-{:04x}-{:04x}-{:04x}-{:012x}", numbers[0] >> 16, numbers[0] & 0xffff, numbers[1] >> 48, numbers[1]);

    let mut last = String::new();
    for way in [Way::Direct, Way::Cloud] {
        let rows = fleet::eventually("rows of the tracepoint", || {
            let answer = match world.fleet().px(way, &script(&upid, "px_probe_me")) {
                Ok(answer) => answer,
                Err(error) => {
                    last = format!("{error:#}");
                    return Ok(None);
                }
            };
            let rows: Vec<_> = answer.table("rows").cloned().collect();
            Ok((rows.len() == 3).then_some(rows))
        });
        for row in rows.with_context(|| last.clone())? {
            assert_eq!(row["twice"].as_i64().unwrap(), 2 * row["n"].as_i64().unwrap(), "{way:?}: {row}");
            assert_eq!(row["upid"], upid.as_str());
        }
    }
    let error = world.fleet().px(Way::Direct, &script(&upid, "no_such_function")).unwrap_err().to_string();
    assert!(error.contains("no_such_function") && error.contains("cannot be installed"), "{error}");
    Ok(())
}
