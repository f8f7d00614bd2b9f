//! Arguments of a call: by position, by name, by default.

use std::rc::Rc;

use crate::diagnostics::{Code, Diagnostic, Result};
use crate::expr::{Literal, Typed};
use crate::frame::Frame;
use crate::source::Span;
use crate::suggest::{did_you_mean, list};
use crate::value::Value;

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Arg<'a> {
    pub(crate) value: Value<'a>,
    pub(crate) span: Span,
}

/// The arguments of one call.
#[derive(Debug)]
pub(crate) struct Args<'a> {
    pub(crate) positional: Vec<Arg<'a>>,
    pub(crate) named: Vec<(String, Span, Arg<'a>)>,
    /// The call as a whole.
    pub(crate) span: Span,
}

impl<'a> Args<'a> {
    /// One slot per parameter of `params`; None where the call does not give it. `function` is for messages.
    pub(crate) fn bind(self, function: &str, params: &[&str]) -> Result<Vec<Option<Arg<'a>>>> {
        let given = self.positional.len() + self.named.len();
        if self.positional.len() > params.len() {
            let message = format!("{function}() takes {} arguments but {given} were given.", params.len());
            return Err(Diagnostic::new(Code::Arguments, self.span, message));
        }
        let mut slots: Vec<Option<Arg<'a>>> = self.positional.into_iter().map(Some).collect();
        slots.resize_with(params.len(), || None);
        for (name, span, arg) in self.named {
            let Some(at) = params.iter().position(|param| *param == name) else {
                let help = did_you_mean(&name, params.iter().copied()).unwrap_or_else(|| match params {
                    [] => format!("{function}() takes no arguments"),
                    _ => format!("{function}() takes {}", list(params.iter().copied())),
                });
                let message = format!("{function}() got an unexpected keyword argument '{name}'");
                return Err(Diagnostic::new(Code::Arguments, span, message).with_help(help));
            };
            if slots[at].is_some() {
                return Err(Diagnostic::new(Code::Arguments, span, format!("{function}() got multiple values for argument '{name}'")));
            }
            slots[at] = Some(arg);
        }
        Ok(slots)
    }

    /// Whether any is not known before a tracepoint is there.
    pub(crate) fn have_unknown(&self) -> bool {
        self.positional.iter().chain(self.named.iter().map(|(_, _, arg)| arg)).any(|arg| arg.value.is_unknown())
    }

    /// Exactly these parameters, all given.
    pub(crate) fn bind_all<const N: usize>(self, function: &str, params: [&str; N]) -> Result<[Arg<'a>; N]> {
        let span = self.span;
        let given = self.positional.len() + self.named.len();
        let mut bound = Vec::with_capacity(N);
        for (slot, name) in self.bind(function, &params)?.into_iter().zip(params) {
            bound.push(slot.ok_or_else(|| {
                let message = format!("{function}() takes {N} arguments but {given} were given.");
                Diagnostic::new(Code::Arguments, span, message).with_help(format!("missing '{name}'"))
            })?);
        }
        bound.try_into().map_err(|_| Diagnostic::new(Code::Internal, span, "arguments were lost"))
    }

    /// Positional arguments only.
    pub(crate) fn positional_only(self, function: &str) -> Result<(Vec<Arg<'a>>, Span)> {
        match self.named.into_iter().next() {
            None => Ok((self.positional, self.span)),
            Some((name, span, _)) => {
                let message = format!("{function}() got an unexpected keyword argument '{name}'");
                Err(Diagnostic::new(Code::Arguments, span, message).with_help("its arguments have no names"))
            }
        }
    }
}

/// An argument that a function cannot do without.
pub(crate) fn required<'a>(slot: Option<Arg<'a>>, function: &str, name: &str, span: Span) -> Result<Arg<'a>> {
    slot.ok_or_else(|| Diagnostic::new(Code::Arguments, span, format!("{function}() missing required argument '{name}'")))
}

impl Arg<'_> {
    /// The complaint that `name` should be something else.
    pub(crate) fn expected(&self, expected: &str, name: &str) -> Box<Diagnostic> {
        Diagnostic::new(Code::Type, self.span, format!("Expected '{expected}' in arg '{name}', got '{}'", self.value.kind()))
    }

    pub(crate) fn str(&self, name: &str) -> Result<Rc<str>> {
        match self.value.as_literal() {
            Some(Literal::Str(text)) => Ok(Rc::clone(text)),
            _ => Err(self.expected("string", name)),
        }
    }

    pub(crate) fn int(&self, name: &str) -> Result<i64> {
        match self.value.as_literal() {
            Some(Literal::Int(value)) => Ok(*value),
            _ => Err(self.expected("int64", name)),
        }
    }

    pub(crate) fn frame(&self, name: &str) -> Result<&Frame> {
        match &self.value {
            Value::Frame(frame) => Ok(frame),
            _ => Err(self.expected("DataFrame", name)),
        }
    }

    pub(crate) fn expr(&self, name: &str) -> Result<&Typed> {
        match &self.value {
            Value::Expr(expr) => Ok(expr),
            _ => Err(self.expected("expression", name)),
        }
    }

    /// A string, or a list or tuple of strings.
    pub(crate) fn strings(&self, name: &str) -> Result<Vec<String>> {
        match &self.value {
            Value::List(items) | Value::Tuple(items) => {
                let text = |item: &Value<'_>| item.as_str().map(str::to_owned).ok_or_else(|| self.expected("list of strings", name));
                items.items.iter().map(text).collect()
            }
            value => Ok(vec![value.as_str().ok_or_else(|| self.expected("string or list of strings", name))?.to_owned()]),
        }
    }
}
