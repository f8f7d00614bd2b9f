use ids::UnixNs;

use crate::{Kind, Object, ResourceVersion, Text, Uid};

/// One thing that happened to one object. `at` is when the watcher heard of it: the same number for everybody who applies the change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is there, and like this.
    Put {
        /// As it is.
        object: Box<Object>,
        /// When that was seen.
        at: UnixNs,
    },
    /// It is there no more.
    Gone {
        /// Which.
        uid: Uid,
        /// Version of the deletion, or of the list in which the object was missing.
        version: ResourceVersion,
        /// When that was seen.
        at: UnixNs,
    },
}

impl Change {
    /// An object that is there.
    pub fn put(object: Object, at: UnixNs) -> Change {
        Change::Put { object: Box::new(object), at }
    }

    /// An object that is gone.
    pub fn gone(uid: Uid, version: ResourceVersion, at: UnixNs) -> Change {
        Change::Gone { uid, version, at }
    }

    /// Which object.
    pub fn uid(&self) -> &Uid {
        match self {
            Change::Put { object, .. } => &object.meta().uid,
            Change::Gone { uid, .. } => uid,
        }
    }
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The state is another one now.
    Applied,
    /// This or something newer was known already; nothing changed.
    Old,
    /// It speaks of an object that nobody has seen; nothing changed.
    Unknown,
    /// It says of an object that it is of another kind than before; nothing changed.
    Contradiction,
    /// There is no room, even without what is gone; nothing changed.
    Refused,
}

/// What a list of objects is complete for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// Objects of this kind,
    pub kind: Kind,
    /// in this namespace; `None`: in all.
    pub namespace: Option<Text>,
}
