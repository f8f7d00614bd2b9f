use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::diff::diff;

/// One case: its inputs, and where its expectations are.
#[derive(Debug)]
pub struct Case {
    name: String,
    folder: PathBuf,
    update: bool,
    touched: RefCell<BTreeSet<String>>,
    problems: RefCell<Vec<String>>,
}

impl Case {
    pub(crate) fn new(name: String, folder: PathBuf, update: bool) -> Case {
        Case { name, folder, update, touched: RefCell::default(), problems: RefCell::default() }
    }

    /// Its path below `golden/`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its folder, for tools that want a path. Files that are used so are named with [`Self::uses`].
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Names a file of the case that something else reads.
    pub fn uses(&self, file: &str) {
        self.touched.borrow_mut().insert(file.to_owned());
    }

    /// Whether it has this file.
    pub fn has(&self, file: &str) -> bool {
        self.folder.join(file).is_file()
    }

    /// Names of all its files, sorted.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn files(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.folder).with_context(|| format!("reading {}", self.folder.display()))? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    /// An input's text.
    ///
    /// # Errors
    /// If it is missing, or not UTF-8.
    pub fn input(&self, file: &str) -> Result<String> {
        self.uses(file);
        std::fs::read_to_string(self.folder.join(file)).with_context(|| format!("the case has no readable `{file}`"))
    }

    /// An input's bytes.
    ///
    /// # Errors
    /// If it is missing.
    pub fn input_bytes(&self, file: &str) -> Result<Vec<u8>> {
        self.uses(file);
        std::fs::read(self.folder.join(file)).with_context(|| format!("the case has no readable `{file}`"))
    }

    /// States that `file` holds exactly `actual`, but for a line end at its end; or writes it so.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn expect(&self, file: &str, actual: &str) -> Result<()> {
        self.uses(file);
        let mut actual = actual.to_owned();
        if !actual.is_empty() && !actual.ends_with('\n') {
            actual.push('\n');
        }
        let path = self.folder.join(file);
        match std::fs::read_to_string(&path) {
            Ok(expected) if expected == actual => {}
            _ if self.update => std::fs::write(&path, actual).with_context(|| format!("writing {}", path.display()))?,
            Ok(expected) => self.problem(format!("`{file}` differs (- expected, + actual)\n{}", diff(&expected, &actual))),
            Err(_) => self.problem(format!("`{file}` is missing; it would be\n{}", diff("", &actual))),
        }
        Ok(())
    }

    pub(crate) fn problem(&self, text: String) {
        self.problems.borrow_mut().push(text);
    }

    /// What is wrong with it, files that nobody reads included.
    pub(crate) fn into_problems(self) -> Vec<String> {
        let unread: Vec<String> = match self.files() {
            Ok(files) => files.into_iter().filter(|file| !self.touched.borrow().contains(file)).collect(),
            Err(error) => vec![format!("{error:#}")],
        };
        let mut problems = self.problems.into_inner();
        problems.extend(unread.into_iter().map(|file| format!("`{file}` is neither read nor expected")));
        problems
    }
}
