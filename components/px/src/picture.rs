//! A place in a script, drawn.

use client::Problem;

/// `Script compilation failed` with each place, its line and a caret.
pub(crate) fn problems(script: &str, problems: &[Problem]) -> String {
    let mut text = String::new();
    for problem in problems {
        text.extend(["Script compilation failed: ", &problem.to_string(), "\n"]);
        let index = usize::try_from(problem.line.saturating_sub(1)).unwrap_or(usize::MAX);
        let Some(line) = script.lines().nth(index) else { continue };
        let number = problem.line.to_string();
        let margin = " ".repeat(number.len());
        // Tabs keep their width in the caret's line.
        let before = usize::try_from(problem.column.saturating_sub(1)).unwrap_or(0);
        let space: String = line.chars().take(before).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        text.push_str(&[margin.as_str(), " |\n", &number, " | ", line, "\n", &margin, " | ", &space, "^\n"].concat());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caret_stands_below_the_place() {
        let script = "import px\n\tdf = f\u{f6}o.x\n";
        let problem = |line, column| Problem { line, column, message: "name 'f\u{f6}o' is not defined".to_owned() };
        let drawn = problems(script, &[problem(2, 7), problem(9, 1)]);
        let expected = "Script compilation failed: L2 : C7  name 'f\u{f6}o' is not defined\n  |\n2 | \tdf = f\u{f6}o.x\n  | \t     ^\n\
                        Script compilation failed: L9 : C1  name 'f\u{f6}o' is not defined\n";
        assert_eq!(drawn, expected);
    }
}
