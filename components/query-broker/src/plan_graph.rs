//! Plans as GraphViz text.

use std::fmt::Write as _;

/// A step's indentation below the step that reads it, in the engine's text.
const INDENT: usize = 2;

/// One graph of all plans: a cluster per output, an edge from each step to the one that reads its rows.
pub(crate) fn plan_graph<'a>(plans: impl Iterator<Item = (&'a str, String)>) -> String {
    let mut graph = String::from("digraph {\n");
    for (index, (output, text)) in plans.enumerate() {
        cluster(&mut graph, index, output, &text);
    }
    graph.push_str("}\n");
    graph
}

// Writing to a String cannot fail.
fn cluster(graph: &mut String, index: usize, output: &str, text: &str) {
    let _ = writeln!(graph, "  subgraph cluster_{index} {{\n    label={};", quoted(output));
    // The last step seen at each depth.
    let mut above: Vec<usize> = Vec::new();
    for (step, line) in text.lines().enumerate() {
        let depth = (line.len() - line.trim_start().len()) / INDENT;
        above.truncate(depth);
        let _ = writeln!(graph, "    o{index}_{step} [label={}];", quoted(line.trim()));
        if let Some(reader) = above.last() {
            let _ = writeln!(graph, "    o{index}_{step} -> o{index}_{reader};");
        }
        above.push(step);
    }
    graph.push_str("  }\n");
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_flow_along_the_edges() {
        let join = "HashJoin: on=[\"a\"]\n  Filter: x\n    Scan: left\n  Scan: right\n";
        let graph = plan_graph([("out\"put", join.to_owned()), ("other", "Scan: t\n".to_owned())].into_iter());
        let expected = r#"digraph {
  subgraph cluster_0 {
    label="out\"put";
    o0_0 [label="HashJoin: on=[\"a\"]"];
    o0_1 [label="Filter: x"];
    o0_1 -> o0_0;
    o0_2 [label="Scan: left"];
    o0_2 -> o0_1;
    o0_3 [label="Scan: right"];
    o0_3 -> o0_0;
  }
  subgraph cluster_1 {
    label="other";
    o1_0 [label="Scan: t"];
  }
}
"#;
        assert_eq!(graph, expected);
    }
}
