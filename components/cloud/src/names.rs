//! Which name a cluster gets. Pure: randomness is an argument. Reference: vizier.md, section 3.6.

/// A longer name is refused.
pub(crate) const NAME_BYTES_MAX: usize = 128;

/// First and second word of a name for a cluster that brings none.
const FIRST: [&str; 16] = [
    "amber", "brisk", "calm", "clear", "crisp", "early", "fair", "keen", "light", "mild", "north", "quick", "quiet", "swift", "warm",
    "wide",
];
const SECOND: [&str; 16] = [
    "bay", "brook", "cliff", "creek", "dune", "fjord", "glade", "grove", "hill", "lake", "marsh", "meadow", "ridge", "river", "shore",
    "vale",
];

/// A name that no cluster can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    #[error("a cluster's name has at most {NAME_BYTES_MAX} bytes")]
    TooLong,
    #[error("a cluster's name has no control characters")]
    Control,
}

/// The name for a cluster that asks for `wanted`, has `current` if it is known, among those that `taken` knows in its organisation.
pub(crate) fn choose(wanted: &str, current: Option<&str>, taken: impl Fn(&str) -> bool, random: u32) -> Result<String, Unfit> {
    let wanted = wanted.trim();
    if wanted.len() > NAME_BYTES_MAX {
        return Err(Unfit::TooLong);
    }
    if wanted.chars().any(char::is_control) {
        return Err(Unfit::Control);
    }
    if let Some(current) = current
        && (wanted.is_empty() || base(current) == wanted || current == wanted)
    {
        return Ok(current.to_owned());
    }
    let name = if wanted.is_empty() { two_words(random) } else { wanted.to_owned() };
    Ok(if taken(&name) { format!("{name}_{random:08x}") } else { name })
}

fn two_words(random: u32) -> String {
    let word = |words: &[&'static str; 16], bits: u32| words[(bits % 16) as usize];
    format!("{}_{}", word(&FIRST, random), word(&SECOND, random >> 8))
}

/// The name without a suffix of eight hexadecimal digits.
fn base(name: &str) -> &str {
    match name.rsplit_once('_') {
        Some((base, suffix)) if suffix.len() == 8 && suffix.bytes().all(|byte| byte.is_ascii_hexdigit()) => base,
        Some(_) | None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(wanted: &str, current: Option<&str>, taken: &[&str]) -> String {
        choose(wanted, current, |name| taken.contains(&name), 0xabcd_0123).unwrap()
    }

    #[test]
    fn a_name_is_as_asked_for_unless_another_cluster_has_it() {
        assert_eq!(name("prod", None, &[]), "prod");
        assert_eq!(name("prod", None, &["prod"]), "prod_abcd0123");
        assert_eq!(name(" prod ", Some("old"), &["old"]), "prod");
    }

    #[test]
    fn a_cluster_that_comes_back_keeps_the_name_that_it_was_given() {
        assert_eq!(name("prod", Some("prod_0000beef"), &["prod", "prod_0000beef"]), "prod_0000beef");
        assert_eq!(name("", Some("whatever"), &["whatever"]), "whatever");
        assert_eq!(name("prod", Some("prod"), &["prod"]), "prod");
    }

    #[test]
    fn one_that_brings_no_name_is_given_one() {
        assert_eq!(name("", None, &[]), "clear_brook");
        assert_eq!(name("", None, &["clear_brook"]), "clear_brook_abcd0123");
    }

    #[test]
    fn what_no_terminal_could_show_is_refused() {
        assert_eq!(choose("a\u{1b}[31m", None, |_| false, 0), Err(Unfit::Control));
        assert_eq!(choose(&"x".repeat(129), None, |_| false, 0), Err(Unfit::TooLong));
    }
}
