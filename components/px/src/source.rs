//! The script to run: from the library, a file, a folder or standard input.

use std::io::Read;
use std::path::Path;

use client::ScriptFunc;
use scripts::Vis;

use crate::Error;
use crate::args::RunArgs;

/// Bytes of one script. The server takes no more.
const SCRIPT_BYTES_MAX: u64 = 1024 * 1024;

/// Names that are offered when one is unknown are at least this much alike, from 0 to 1.
const ALIKE_MIN: f64 = 0.6;

/// A script and its arguments' declaration.
pub(crate) struct Source {
    /// For messages: the file or the name.
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) vis: Option<Vis>,
}

impl Source {
    pub(crate) fn of_run(args: &RunArgs, stdin: &mut dyn Read) -> Result<Source, Error> {
        match (&args.file, &args.name) {
            (Some(path), _) if path.is_dir() => Source::folder(path),
            (Some(path), _) => Source::file(path, stdin),
            (None, Some(name)) => Source::library(name),
            (None, None) => Source::library(""),
        }
    }

    pub(crate) fn library(name: &str) -> Result<Source, Error> {
        let script = scripts::get(name).ok_or_else(|| Error::UnknownScript { name: name.to_owned(), nearest: nearest(name) })?;
        Ok(Source { name: script.name.clone(), text: script.pxl.to_owned(), vis: script.vis.clone() })
    }

    /// A file, or standard input for `-`.
    pub(crate) fn file(path: &Path, stdin: &mut dyn Read) -> Result<Source, Error> {
        let failed = |source| Error::File { action: "read", path: path.to_owned(), source };
        let mut text = String::new();
        let name = if path.as_os_str() == "-" {
            stdin.take(SCRIPT_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
            "<stdin>".to_owned()
        } else {
            std::fs::File::open(path).map_err(failed)?.take(SCRIPT_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
            path.display().to_string()
        };
        Ok(Source { name, text, vis: None })
    }

    fn folder(path: &Path) -> Result<Source, Error> {
        let failed = |source| Error::File { action: "read", path: path.to_owned(), source };
        let mut files = Vec::new();
        for entry in std::fs::read_dir(path).map_err(failed)? {
            let file = entry.map_err(failed)?.path();
            if file.extension().is_some_and(|extension| extension == "pxl") {
                files.push(file);
            }
        }
        let [file] = &files[..] else { return Err(Error::Folder { path: path.to_owned(), count: files.len() }) };
        let vis = path.join("vis.json");
        let vis = if vis.exists() { Some(Vis::parse(&Source::file(&vis, &mut std::io::empty())?.text)?) } else { None };
        Ok(Source { vis, ..Source::file(file, &mut std::io::empty())? })
    }

    /// What of the script is to be called with these arguments.
    pub(crate) fn calls(&self, given: &[(String, String)]) -> Result<Vec<ScriptFunc>, Error> {
        let calls = self.vis.clone().unwrap_or_default().calls(given)?;
        Ok(calls.into_iter().map(|call| ScriptFunc { name: call.func, args: call.args, output_prefix: call.output }).collect())
    }

    /// What the script takes, for people.
    pub(crate) fn help(&self) -> String {
        let variables = self.vis.as_ref().map(|vis| &vis.variables[..]).unwrap_or_default();
        if variables.is_empty() {
            return format!("{} takes no arguments.\n", self.name);
        }
        let mut text = format!("Arguments of {}:\n", self.name);
        for variable in variables {
            let kind = variable.px_type.strip_prefix("PX_").unwrap_or(&variable.px_type);
            text.extend(["  --", &variable.name, " <", kind, ">\n"]);
            if !variable.description.is_empty() {
                text.extend(["      ", &variable.description, "\n"]);
            }
            match &variable.default_value {
                Some(value) => text.extend(["      default: ", if value.is_empty() { "(empty)" } else { value }, "\n"]),
                None => text.push_str("      required\n"),
            }
            if !variable.valid_values.is_empty() {
                text.extend(["      one of: ", &variable.valid_values.join(", "), "\n"]);
            }
        }
        text
    }
}

fn nearest(name: &str) -> String {
    let alike = |candidate: &&str| {
        let short = candidate.strip_prefix("px/").unwrap_or(candidate);
        strsim::jaro_winkler(name, candidate).max(strsim::jaro_winkler(name, short))
    };
    let best = scripts::names().filter(|candidate| alike(candidate) >= ALIKE_MIN).max_by(|a, b| alike(a).total_cmp(&alike(b)));
    best.map(|name| format!(", did you mean `{name}`?")).unwrap_or_default()
}

/// Arguments of a script as words: `--name value` or `--name=value`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ScriptArgs {
    Help,
    Given(Vec<(String, String)>),
}

pub(crate) fn script_args(words: &[String]) -> Result<ScriptArgs, Error> {
    let mut given = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == "--help" || word == "-h" {
            return Ok(ScriptArgs::Help);
        }
        let name = word.strip_prefix("--").or_else(|| word.strip_prefix('-')).filter(|name| !name.is_empty() && !name.starts_with('-'));
        let name = name.ok_or_else(|| Error::ArgumentSyntax { word: word.clone() })?;
        let (name, value) = match name.split_once('=') {
            Some((name, value)) => (name, value),
            // Values may begin with a dash: `--start_time -5m`.
            None => (name, words.next().ok_or_else(|| Error::ArgumentValue { name: name.to_owned() })?.as_str()),
        };
        given.push((name.to_owned(), value.to_owned()));
    }
    Ok(ScriptArgs::Given(given))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ScriptArgs, String> {
        script_args(&text.split(' ').map(str::to_owned).collect::<Vec<_>>()).map_err(|error| error.to_string())
    }

    #[test]
    fn script_arguments_are_names_with_values() {
        let given = |pairs: &[(&str, &str)]| Ok(ScriptArgs::Given(pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()));
        assert_eq!(parse("--start_time -5m --pod= -n=3"), given(&[("start_time", "-5m"), ("pod", ""), ("n", "3")]));
        assert_eq!(parse("--a b --help"), Ok(ScriptArgs::Help));
        assert_eq!(parse("pod"), Err("`pod` is not an argument: write --name value".to_owned()));
        assert_eq!(parse("--pod"), Err("argument `--pod` has no value".to_owned()));
        assert_eq!(parse("--"), Err("`--` is not an argument: write --name value".to_owned()));
    }
}
