//! What is wrong with a script, and where.

use std::fmt;

use ariadne::{CharSet, Config, IndexType, Label, Report, ReportKind};

use crate::source::{Place, Span, place};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident => $text:literal,)+) => {
        /// The kind of a problem, for tools. The text is stable.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $name,)+ }

        impl fmt::Display for Code {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Code::$name => $text,)+ })
            }
        }
    };
}

codes! {
    /// Not Python.
    Syntax => "syntax",
    /// Python, or PxL, that we do not run.
    Unsupported => "unsupported",
    /// A name, table, column, attribute or function that does not exist.
    Unknown => "unknown",
    /// Wrong number or names of arguments.
    Arguments => "arguments",
    /// Wrong type.
    Type => "type",
    /// Right type, wrong value.
    Value => "value",
    /// A limit on the size of a script or its query.
    Limit => "limit",
    /// A wrong `#px:set` line.
    Flag => "flag",
    /// The script makes no output.
    NoOutput => "no-output",
    /// A function to be called from outside is missing or is called wrongly.
    Call => "call",
    /// Nothing is wrong with the script; something it asks for cannot be had now.
    Unavailable => "unavailable",
    /// Our fault.
    Internal => "internal",
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Its kind.
    pub code: Code,
    /// What is wrong, in one sentence.
    pub message: String,
    /// Where. None if it concerns the script as a whole, or the call of a function from outside.
    pub span: Option<Span>,
    /// What to do about it.
    pub help: Option<String>,
}

/// A fallible step of a compile. Boxed: diagnostics are large and rare.
pub(crate) type Result<T> = std::result::Result<T, Box<Diagnostic>>;

impl Diagnostic {
    pub(crate) fn new(code: Code, span: Span, message: impl Into<String>) -> Box<Diagnostic> {
        Box::new(Diagnostic { code, message: message.into(), span: Some(span), help: None })
    }

    pub(crate) fn whole(code: Code, message: impl Into<String>) -> Box<Diagnostic> {
        Box::new(Diagnostic { code, message: message.into(), span: None, help: None })
    }

    pub(crate) fn with_help(mut self: Box<Self>, help: impl Into<String>) -> Box<Diagnostic> {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn maybe_help(mut self: Box<Self>, help: Option<String>) -> Box<Diagnostic> {
        self.help = help;
        self
    }
}

/// One problem as the wire carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Line within the script and column, both from 1. Line 1, column 1 if the problem concerns the script as a whole.
    pub place: Place,
    /// What is wrong and what to do about it.
    pub message: String,
}

/// Everything wrong with one script, in the order of its text. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostics {
    script: String,
    problems: Vec<Diagnostic>,
}

impl Diagnostics {
    pub(crate) fn new(script: &str, problems: Vec<Diagnostic>) -> Diagnostics {
        Diagnostics { script: script.to_owned(), problems }
    }

    /// The problems.
    pub fn problems(&self) -> &[Diagnostic] {
        &self.problems
    }

    /// As the wire carries them.
    pub fn messages(&self) -> Vec<Message> {
        self.problems.iter().map(|problem| self.message(problem)).collect()
    }

    /// With the lines concerned and a caret picture, without colour. `file` names the script.
    pub fn render(&self, file: &str) -> String {
        let mut out = Vec::new();
        for problem in &self.problems {
            self.draw(file, problem, false, &mut out);
        }
        finish(&out)
    }

    /// As [`Self::render`], with terminal colours.
    pub fn render_coloured(&self, file: &str) -> String {
        let mut out = Vec::new();
        for problem in &self.problems {
            self.draw(file, problem, true, &mut out);
        }
        finish(&out)
    }

    fn message(&self, problem: &Diagnostic) -> Message {
        let message = match &problem.help {
            Some(help) => format!("{} ({help})", problem.message),
            None => problem.message.clone(),
        };
        Message { place: problem.span.map_or(Place { line: 1, column: 1 }, |span| place(&self.script, span.start)), message }
    }

    fn draw(&self, file: &str, problem: &Diagnostic, colour: bool, out: &mut Vec<u8>) {
        let Some(span) = problem.span else {
            out.extend_from_slice(format!("Error: {}\n", problem.message).as_bytes());
            if let Some(help) = &problem.help {
                out.extend_from_slice(format!("  Help: {help}\n").as_bytes());
            }
            return;
        };
        // The parser's own spans may end within a character.
        let start = self.script.floor_char_boundary(span.start);
        let range = start..self.script.ceil_char_boundary(span.end.max(start));
        let config = Config::new().with_color(colour).with_char_set(CharSet::Ascii).with_index_type(IndexType::Byte);
        let mut report = Report::build(ReportKind::Error, (file, range.clone()))
            .with_config(config)
            .with_message(&problem.message)
            .with_label(Label::new((file, range)).with_message(problem.code));
        if let Some(help) = &problem.help {
            report = report.with_help(help);
        }
        // Writing to memory does not fail.
        let _ = report.finish().write((file, ariadne::Source::from(self.script.as_str())), out);
    }
}

fn finish(out: &[u8]) -> String {
    let mut text = String::new();
    for line in String::from_utf8_lossy(out).lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// `line:column: message`, one problem a line.
impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, Message { place, message }) in self.messages().into_iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}:{}: {message}", place.line, place.column)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}
