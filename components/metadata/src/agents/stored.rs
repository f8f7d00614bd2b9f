use std::collections::BTreeMap;
use std::sync::Arc;

use ids::{AgentId, Asid, UnixNs};

use super::types::{AgentInfo, CollectorStatus, Incarnation, Place, TableSchema};

/// What is kept of an agent, alive or remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seat {
    /// Its id.
    pub id: AgentId,
    /// Its number.
    pub asid: Asid,
    /// Where it is at home.
    pub place: Place,
    /// Which run of its process registered last.
    pub incarnation: Incarnation,
    /// About itself.
    pub info: AgentInfo,
    /// When that run registered.
    pub registered: UnixNs,
    /// When it was given up; `None`: it is alive.
    pub left: Option<UnixNs>,
    /// Whether that run has said everything about itself: until it has, its tables are another run's, or none.
    pub told: bool,
    /// Its tables; none if it is not alive.
    pub tables: Arc<Vec<TableSchema>>,
    /// Its collectors; none if it is not alive.
    pub collectors: BTreeMap<String, CollectorStatus>,
}

/// What changed since it was written last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsaved {
    /// The last number that was given.
    pub last_asid: Asid,
    /// Agents as they are now.
    pub seats: Vec<Seat>,
    /// Agents that are remembered no longer.
    pub forgotten: Vec<AgentId>,
}

impl Unsaved {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.seats.is_empty() && self.forgotten.is_empty()
    }
}
