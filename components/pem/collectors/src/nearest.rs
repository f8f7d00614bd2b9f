use std::fmt;

/// Names that are shown.
const SHOWN_MAX: usize = 3;
/// Longer ones are not compared: nobody types them.
const NAME_BYTES_MAX: usize = 256;
/// How alike names must be, from 0 to 1.
const LIKENESS_MIN: f64 = 0.5;

/// Names like one that was not found, the most alike first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nearest {
    /// At most three.
    pub names: Vec<String>,
    /// Whether there were any names at all.
    pub any: bool,
}

impl Nearest {
    /// Of `names`, those most like `wanted`. A name that contains the other counts as very alike.
    pub(crate) fn of<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Nearest {
        let mut best: Vec<(f64, &str)> = Vec::new();
        let mut any = false;
        for name in names {
            any = true;
            if name.len() > NAME_BYTES_MAX {
                continue;
            }
            let likeness = likeness(wanted, name);
            if likeness < LIKENESS_MIN || best.iter().any(|(_, known)| *known == name) {
                continue;
            }
            let at = best.partition_point(|(known, _)| *known >= likeness);
            best.insert(at, (likeness, name));
            best.truncate(SHOWN_MAX);
        }
        Nearest { names: best.into_iter().map(|(_, name)| name.to_owned()).collect(), any }
    }
}

fn likeness(wanted: &str, name: &str) -> f64 {
    let contained = !wanted.is_empty() && !name.is_empty() && (name.contains(wanted) || wanted.contains(name));
    let (short, long) = (wanted.len().min(name.len()), wanted.len().max(name.len()));
    if contained {
        // Between 0.8 and 1: the less there is around it, the more.
        return 0.8 + 0.2 * short as f64 / long as f64;
    }
    // No comparison that cannot reach what is asked for: a program has many names.
    if (short as f64) < LIKENESS_MIN * long as f64 { 0.0 } else { strsim::normalized_damerau_levenshtein(wanted, name) }
}

impl fmt::Display for Nearest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.names.as_slice(), self.any) {
            ([], true) => f.write_str("nor any name like it"),
            ([], false) => f.write_str("there are no names at all"),
            (names, _) => {
                f.write_str("nearest: ")?;
                for (index, name) in names.iter().enumerate() {
                    write!(f, "{}`{name}`", if index == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(wanted: &str, names: &[&str]) -> String {
        Nearest::of(wanted, names.iter().copied()).to_string()
    }

    #[test]
    fn the_most_alike_come_first_and_once() {
        assert_eq!(check("handel", &["main", "handle", "handled", "unhandle", "handle"]), "nearest: `handle`, `handled`, `unhandle`");
        assert_eq!(check("foo", &["_ZN3foo3barEv", "food", "bar"]), "nearest: `food`, `_ZN3foo3barEv`");
    }

    #[test]
    fn no_names_and_none_alike_are_told_apart() {
        assert_eq!(check("handle", &["xyz"]), "nor any name like it");
        assert_eq!(check("handle", &[]), "there are no names at all");
    }
}
