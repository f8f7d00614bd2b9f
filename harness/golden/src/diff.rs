use std::fmt::Write as _;

/// Lines of agreement that are shown around a difference.
const AROUND: usize = 2;

/// Longest texts, in lines, that are aligned; of longer ones only the ends that agree are left out. The table is quadratic.
const ALIGNED_LINES_MAX: usize = 2000;

enum Line<'a> {
    Same(&'a str),
    Gone(&'a str),
    New(&'a str),
}

/// What differs, line by line: `-` is expected, `+` is actual.
pub(crate) fn diff(expected: &str, actual: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), actual.lines().collect());
    let lines = align(&old, &new);
    let near =
        |at: usize| lines[at.saturating_sub(AROUND)..(at + AROUND + 1).min(lines.len())].iter().any(|line| !matches!(line, Line::Same(_)));
    let (mut out, mut skipping) = (String::new(), false);
    for (at, line) in lines.iter().enumerate() {
        let (sign, text) = match line {
            Line::Same(_) if !near(at) => {
                skipping = true;
                continue;
            }
            Line::Same(text) => (' ', text),
            Line::Gone(text) => ('-', text),
            Line::New(text) => ('+', text),
        };
        if std::mem::take(&mut skipping) {
            out.push_str("    …\n");
        }
        let _ = writeln!(out, "  {sign} {text}");
    }
    if out.is_empty() {
        out.push_str("  only line ends differ\n");
    }
    out
}

/// A longest common subsequence between what begins and ends alike.
fn align<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Line<'a>> {
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let tail = old[head..].iter().rev().zip(new[head..].iter().rev()).take_while(|(a, b)| a == b).count();
    let (a, b) = (&old[head..old.len() - tail], &new[head..new.len() - tail]);
    let mut lines: Vec<Line<'a>> = old[..head].iter().map(|line| Line::Same(line)).collect();
    if a.len().max(b.len()) > ALIGNED_LINES_MAX {
        lines.extend(a.iter().map(|line| Line::Gone(line)));
        lines.extend(b.iter().map(|line| Line::New(line)));
    } else {
        lines.extend(align_middle(a, b));
    }
    lines.extend(old[old.len() - tail..].iter().map(|line| Line::Same(line)));
    lines
}

fn align_middle<'a>(a: &[&'a str], b: &[&'a str]) -> Vec<Line<'a>> {
    let mut common = vec![vec![0_u32; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            common[i][j] = if a[i] == b[j] { common[i + 1][j + 1] + 1 } else { common[i + 1][j].max(common[i][j + 1]) };
        }
    }
    let (mut lines, mut i, mut j) = (Vec::new(), 0, 0);
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            lines.push(Line::Same(a[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == b.len() || (i < a.len() && common[i + 1][j] >= common[i][j + 1]) {
            lines.push(Line::Gone(a[i]));
            i += 1;
        } else {
            lines.push(Line::New(b[j]));
            j += 1;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_shown_with_what_is_around_it() {
        let old = "a\nb\nc\nd\ne\nf\n";
        assert_eq!(diff(old, "a\nb\nc\nx\ne\nf\n"), "    …\n    b\n    c\n  - d\n  + x\n    e\n    f\n");
        assert_eq!(diff("", "a\n"), "  + a\n");
        assert_eq!(diff("a\n", "a"), "  only line ends differ\n");
    }
}
