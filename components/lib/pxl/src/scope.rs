//! Names and what they stand for.

use std::collections::BTreeMap;

use crate::value::Value;

/// One scope: the module's, or one call's of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ScopeId(usize);

impl ScopeId {
    /// The module's.
    pub(crate) const MODULE: ScopeId = ScopeId(0);
}

/// All scopes of a run. They are never freed before its end: a function may outlive the call that defined it.
#[derive(Debug)]
pub(crate) struct Scopes<'a> {
    all: Vec<Scope<'a>>,
}

#[derive(Debug)]
struct Scope<'a> {
    parent: Option<ScopeId>,
    names: BTreeMap<String, Value<'a>>,
}

impl<'a> Scopes<'a> {
    pub(crate) fn new() -> Scopes<'a> {
        Scopes { all: vec![Scope { parent: None, names: BTreeMap::new() }] }
    }

    pub(crate) fn open(&mut self, parent: ScopeId) -> ScopeId {
        self.all.push(Scope { parent: Some(parent), names: BTreeMap::new() });
        ScopeId(self.all.len() - 1)
    }

    pub(crate) fn set(&mut self, scope: ScopeId, name: &str, value: Value<'a>) {
        self.all[scope.0].names.insert(name.to_owned(), value);
    }

    pub(crate) fn get(&self, scope: ScopeId, name: &str) -> Option<&Value<'a>> {
        self.chain(scope).find_map(|scope| scope.names.get(name))
    }

    /// Every name that can be seen from there.
    pub(crate) fn names(&self, scope: ScopeId) -> impl Iterator<Item = &str> {
        self.chain(scope).flat_map(|scope| scope.names.keys().map(String::as_str))
    }

    fn chain(&self, scope: ScopeId) -> impl Iterator<Item = &Scope<'a>> {
        std::iter::successors(Some(&self.all[scope.0]), |scope| scope.parent.map(|parent| &self.all[parent.0]))
    }
}
