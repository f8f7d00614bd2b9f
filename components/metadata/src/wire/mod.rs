//! Between messages and what is known: plain functions, each named for its direction. Protobuf stops here.

pub(crate) mod agents;
pub(crate) mod k8s;
pub(crate) mod scripts;
pub(crate) mod tracepoints;

use api::uuidpb::Uuid;
use ids::AgentId;

/// Why a message is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    /// None of the messages that there are, or a newer one.
    #[error("it says nothing that is known here")]
    Empty,
    /// One for agents.
    #[error("it is not for the metadata service")]
    Misdirected,
    /// A part is missing or makes no sense.
    #[error("{0}")]
    Field(&'static str),
}

pub(crate) fn uuid((high_bits, low_bits): (u64, u64)) -> Uuid {
    Uuid { high_bits, low_bits }
}

/// No id has zeros alone.
pub(crate) fn halves(id: Option<&Uuid>) -> Option<(u64, u64)> {
    id.map(|id| (id.high_bits, id.low_bits)).filter(|halves| *halves != (0, 0))
}

pub(crate) fn agent_id(id: Option<&Uuid>) -> Result<AgentId, Malformed> {
    halves(id).map(|(high, low)| AgentId::from_halves(high, low)).ok_or(Malformed::Field("it names no agent"))
}
