//! Plans as GraphViz text.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A step's indentation below the step that reads it, in the engine's text.
const INDENT: usize = 2;

/// A step of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    /// It is read by the last step before it with a smaller depth.
    pub(crate) depth: usize,
    /// Where it runs; empty where there is one place only.
    pub(crate) place: String,
    pub(crate) text: String,
}

/// The steps of a text that has a line for each, indented below the one that reads it.
pub(crate) fn steps_of(text: &str) -> Vec<Step> {
    let depth = |line: &str| (line.len() - line.trim_start().len()) / INDENT;
    text.lines().map(|line| Step { depth: depth(line), place: String::new(), text: line.trim().to_owned() }).collect()
}

/// One graph of all plans: a cluster per output and in it one per place, an edge from each step to the one that reads its rows.
pub(crate) fn plan_graph<'a>(plans: impl Iterator<Item = (&'a str, Vec<Step>)>) -> String {
    let mut graph = String::from("digraph {\n");
    for (index, (output, steps)) in plans.enumerate() {
        cluster(&mut graph, index, output, &steps);
    }
    graph.push_str("}\n");
    graph
}

// Writing to a String cannot fail.
fn cluster(graph: &mut String, index: usize, output: &str, steps: &[Step]) {
    let _ = writeln!(graph, "  subgraph cluster_{index} {{\n    label={};", quoted(output));
    for (place, steps) in by_place(steps).into_iter().enumerate() {
        let named = steps.first().map(|(_, step)| step.place.as_str()).filter(|name| !name.is_empty());
        if let Some(name) = named {
            let _ = writeln!(graph, "    subgraph cluster_{index}_{place} {{\n    label={};", quoted(name));
        }
        for (number, step) in steps {
            let _ = writeln!(graph, "    o{index}_{number} [label={}];", quoted(&step.text));
        }
        if named.is_some() {
            graph.push_str("    }\n");
        }
    }
    // The last step seen at each depth.
    let mut above: Vec<(usize, usize)> = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        above.retain(|(depth, _)| *depth < step.depth);
        if let Some((_, reader)) = above.last() {
            let _ = writeln!(graph, "    o{index}_{number} -> o{index}_{reader};");
        }
        above.push((step.depth, number));
    }
    graph.push_str("  }\n");
}

/// Steps with their numbers, those of one place together, places in the order of their first step.
fn by_place(steps: &[Step]) -> Vec<Vec<(usize, &Step)>> {
    let mut places: Vec<Vec<(usize, &Step)>> = Vec::new();
    let mut known: BTreeMap<&str, usize> = BTreeMap::new();
    for numbered in steps.iter().enumerate() {
        let place = *known.entry(&numbered.1.place).or_insert_with(|| {
            places.push(Vec::new());
            places.len() - 1
        });
        if let Some(of_place) = places.get_mut(place) {
            of_place.push(numbered);
        }
    }
    places
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
        let graph = plan_graph([("out\"put", steps_of(join)), ("other", steps_of("Scan: t\n"))].into_iter());
        let expected = r#"digraph {
  subgraph cluster_0 {
    label="out\"put";
    o0_0 [label="HashJoin: on=[\"a\"]"];
    o0_1 [label="Filter: x"];
    o0_2 [label="Scan: left"];
    o0_3 [label="Scan: right"];
    o0_1 -> o0_0;
    o0_2 -> o0_1;
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

    #[test]
    fn steps_of_one_place_stand_together() {
        let step = |depth: usize, place: &str, text: &str| Step { depth, place: place.to_owned(), text: text.to_owned() };
        let steps = vec![step(0, "kelvin", "Sort"), step(1, "n1", "Scan 1"), step(1, "n2", "Scan 2"), step(0, "kelvin", "Values")];
        let graph = plan_graph([("out", steps)].into_iter());
        let expected = r#"digraph {
  subgraph cluster_0 {
    label="out";
    subgraph cluster_0_0 {
    label="kelvin";
    o0_0 [label="Sort"];
    o0_3 [label="Values"];
    }
    subgraph cluster_0_1 {
    label="n1";
    o0_1 [label="Scan 1"];
    }
    subgraph cluster_0_2 {
    label="n2";
    o0_2 [label="Scan 2"];
    }
    o0_1 -> o0_0;
    o0_2 -> o0_0;
  }
}
"#;
        assert_eq!(graph, expected);
    }
}
