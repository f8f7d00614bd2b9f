//! Where streams are cut, what is lost, what comes late.

use ids::MonoNs;
use proptest::prelude::*;

use crate::kernel::OwnedEvent;
use crate::traffic::{Action, Script, Step};

/// Lengths of pieces, taken in turn.
#[derive(Debug, Clone)]
pub struct Cuts(Vec<usize>);

impl Cuts {
    /// Any cuts: often single bytes, often long pieces.
    pub fn any() -> impl Strategy<Value = Cuts> {
        prop::collection::vec(prop_oneof![3 => 1..4_usize, 3 => 4..40_usize, 1 => 40..3000_usize], 1..20).prop_map(Cuts)
    }

    fn apply<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = bytes;
        self.0.iter().cycle().map_while(move |len| {
            let (piece, tail) = rest.split_at((*len).min(rest.len()));
            rest = tail;
            (!piece.is_empty()).then_some(piece)
        })
    }
}

/// The same connection, with every call cut into several at the same time.
pub fn cut_calls(script: &Script, cuts: &Cuts) -> Script {
    let mut steps = Vec::new();
    for step in &script.steps {
        if let Action::Bytes { direction, bytes, process } = &step.action {
            steps.extend(cuts.apply(bytes).map(|piece| {
                let action = Action::Bytes { direction: *direction, bytes: piece.to_vec(), process: *process };
                Step { at: step.at, action }
            }));
        } else {
            steps.push(step.clone());
        }
    }
    Script { steps, ..script.clone() }
}

/// The same events, with every call reported in several chunks.
pub fn cut_chunks(events: &[(MonoNs, OwnedEvent)], cuts: &Cuts) -> Vec<(MonoNs, OwnedEvent)> {
    let mut cut = Vec::new();
    for (at, event) in events {
        match event {
            OwnedEvent::Transfer { transfer, bytes } if !bytes.is_empty() => {
                let mut offset = transfer.offset;
                for piece in cuts.apply(bytes) {
                    let end = offset + piece.len() as u32;
                    let last = transfer.last && end == transfer.offset + bytes.len() as u32;
                    let transfer = conntrack::Transfer { offset, last, ..transfer.clone() };
                    cut.push((*at, OwnedEvent::Transfer { transfer, bytes: piece.to_vec() }));
                    offset = end;
                }
            }
            OwnedEvent::Transfer { .. } | OwnedEvent::Other(_) => cut.push((*at, event.clone())),
        }
    }
    cut
}

/// How many places each event comes late, taken in turn.
#[derive(Debug, Clone)]
pub struct Delays(Vec<usize>);

impl Delays {
    /// Any order that keeps events within a few places of where they belong.
    pub fn any() -> impl Strategy<Value = Delays> {
        prop::collection::vec(prop_oneof![2 => Just(0_usize), 1 => 0..8_usize], 1..32).prop_map(Delays)
    }

    /// The same things, in another order.
    pub fn apply<T: Clone>(&self, things: &[T]) -> Vec<T> {
        let mut keyed: Vec<(usize, &T)> = things.iter().enumerate().map(|(at, thing)| (at + self.0[at % self.0.len()], thing)).collect();
        keyed.sort_by_key(|(key, _)| *key);
        keyed.into_iter().map(|(_, thing)| thing.clone()).collect()
    }
}

/// Which calls are lost, taken in turn.
#[derive(Debug, Clone)]
pub struct Losses(Vec<Loss>);

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// It is reported.
    None,
    /// Nothing is known of it.
    Unseen,
    /// Its length is.
    NotCopied,
    /// Only so many of its first bytes are copied.
    Prefix(usize),
}

impl Losses {
    /// Any losses, about one call in five.
    pub fn any() -> impl Strategy<Value = Losses> {
        let loss = prop_oneof![12 => Just(Loss::None), 2 => Just(Loss::Unseen), 1 => Just(Loss::NotCopied), 1 => (0..200_usize).prop_map(Loss::Prefix)];
        prop::collection::vec(loss, 1..40).prop_map(Losses)
    }

    /// The same connection, with calls lost.
    pub fn apply(&self, script: &Script) -> Script {
        let mut losses = self.0.iter().copied().cycle();
        let mut steps = Vec::new();
        for step in &script.steps {
            let Action::Bytes { direction, bytes, process } = &step.action else {
                steps.push(step.clone());
                continue;
            };
            let (kept, seen) = match losses.next().unwrap_or(Loss::None) {
                Loss::None => (bytes.len(), true),
                Loss::Unseen => (0, false),
                Loss::NotCopied => (0, true),
                Loss::Prefix(len) => (len.min(bytes.len()), true),
            };
            if kept > 0 {
                let action = Action::Bytes { direction: *direction, bytes: bytes[..kept].to_vec(), process: *process };
                steps.push(Step { at: step.at, action });
            }
            if kept < bytes.len() {
                let action = Action::Gap { direction: *direction, len: (bytes.len() - kept) as u64, seen };
                steps.push(Step { at: step.at, action });
            }
        }
        Script { steps, ..script.clone() }
    }
}
