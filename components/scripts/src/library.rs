use std::sync::LazyLock;

use include_dir::{Dir, include_dir};
use serde::Deserialize;

use crate::vis::Vis;

static FILES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/library");

/// A script of the library.
#[derive(Debug, Clone)]
pub struct Script {
    /// `px/http_data`.
    pub name: String,
    /// What it shows, in one line.
    pub short: String,
    /// Its text.
    pub pxl: &'static str,
    /// Its arguments and the functions to call; None if it displays by itself.
    pub vis: Option<Vis>,
}

#[derive(Deserialize)]
struct Manifest {
    short: String,
}

/// The whole library, by name. A defect in it would show in the tests of this crate; here such a script is left out.
static LIBRARY: LazyLock<Vec<Script>> = LazyLock::new(|| {
    let mut scripts: Vec<Script> = FILES.dirs().flat_map(Dir::dirs).filter_map(read).collect();
    scripts.sort_by(|a, b| a.name.cmp(&b.name));
    scripts
});

fn read(folder: &'static Dir<'static>) -> Option<Script> {
    let name = folder.path().to_str()?.to_owned();
    let file = |file: &str| folder.get_file(folder.path().join(file))?.contents_utf8();
    let short = serde_json::from_str::<Manifest>(file("manifest.json")?).ok()?.short;
    let pxl = file(&format!("{}.pxl", folder.path().file_name()?.to_str()?))?;
    let vis = match file("vis.json") {
        Some(json) => Some(Vis::parse(json).ok()?),
        None => None,
    };
    Some(Script { name, short, pxl, vis })
}

/// Every script, by name.
pub fn list() -> &'static [Script] {
    &LIBRARY
}

/// The script of that name; `px/` may be left out.
pub fn get(name: &str) -> Option<&'static Script> {
    LIBRARY.iter().find(|script| script.name == name || script.name.strip_prefix("px/") == Some(name))
}

/// Every name, for suggestions.
pub fn names() -> impl Iterator<Item = &'static str> {
    LIBRARY.iter().map(|script| script.name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_folder_is_a_whole_script() {
        let folders: Vec<_> = FILES.dirs().flat_map(Dir::dirs).collect();
        assert!(!folders.is_empty());
        for folder in folders {
            let script = read(folder).unwrap_or_else(|| panic!("{} is no whole script", folder.path().display()));
            assert!(!script.short.is_empty() && script.pxl.contains("import px"), "{}", script.name);
        }
        assert_eq!(list().len(), FILES.dirs().flat_map(Dir::dirs).count());
    }

    #[test]
    fn a_script_is_found_with_and_without_its_prefix() {
        assert_eq!(get("px/http_data").unwrap().name, "px/http_data");
        assert_eq!(get("http_data").unwrap().name, "px/http_data");
        assert!(get("px/nothing").is_none());
    }
}
