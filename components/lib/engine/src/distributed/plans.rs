//! Logical plans on their way from broker to coordinator.

use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::common::{DataFusionError, Result, TableReference, internal_err, not_impl_err};
use datafusion::execution::TaskContext;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::{Extension, LogicalPlan};
use datafusion_proto::bytes::{logical_plan_from_bytes_with_extension_codec, logical_plan_to_bytes_with_extension_codec};
use datafusion_proto::logical_plan::LogicalExtensionCodec;
use datafusion_proto::protobuf::LogicalPlanNode;
use prost::Message;

use crate::Error;
use crate::distributed::table::{AgentTable, Bound};

/// What plans and the worker protocol are written for: DataFusion promises nothing between versions, so both ends must say the same.
pub const PLAN_VERSION: &str = concat!("vizier ", env!("CARGO_PKG_VERSION"), " datafusion 55.2");

/// A plan of more bytes is refused. The largest that a script can make, with all its operators and long literals, has some hundred KiB.
pub const PLAN_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A plan over an [`crate::distributed::AgentCatalog`] as bytes.
///
/// # Errors
/// It reads other tables, is nested too deeply for the wire, or is larger than [`PLAN_BYTES_MAX`].
pub fn encode_plan(plan: &LogicalPlan) -> Result<Vec<u8>, Error> {
    let bytes = deep(|| {
        if let Some(bytes) = encode(plan)? {
            return Ok(bytes);
        }
        // Optimised, filters and projections in a row become one.
        let session = SessionStateBuilder::new().with_default_features().build();
        encode(&session.optimize(plan).map_err(Error::Plan)?)?.ok_or(Error::PlanDepth)
    })??;
    if bytes.len() > PLAN_BYTES_MAX {
        return Err(Error::PlanBytes { bytes: bytes.len(), bytes_max: PLAN_BYTES_MAX });
    }
    Ok(bytes)
}

/// None if nobody could read it: messages of protobuf are nested at most a hundred deep. Known here, it can be said to who wrote the script.
fn encode(plan: &LogicalPlan) -> Result<Option<Vec<u8>>, Error> {
    let bytes = logical_plan_to_bytes_with_extension_codec(plan, &PlanCodec { bound: None }).map_err(Error::Plan)?;
    Ok(LogicalPlanNode::decode(bytes.as_ref()).is_ok().then(|| bytes.to_vec()))
}

/// The inverse of [`encode_plan`], over the tables of these agents.
pub(crate) fn decode_plan(bytes: &[u8], context: &TaskContext, bound: Bound) -> Result<LogicalPlan, Error> {
    if bytes.len() > PLAN_BYTES_MAX {
        return Err(Error::PlanBytes { bytes: bytes.len(), bytes_max: PLAN_BYTES_MAX });
    }
    let codec = PlanCodec { bound: Some(bound) };
    deep(|| logical_plan_from_bytes_with_extension_codec(bytes, context, &codec))?.map_err(Error::Plan)
}

/// Stack for reading and writing plans: each level takes many KiB in a build that is not optimised, and there are up to a hundred. What is not
/// touched is not taken.
const STACK_BYTES: usize = 64 * 1024 * 1024;

/// Runs `work`, which calls itself once for each level of a plan, where there is stack enough.
fn deep<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, Error> {
    let failed = |what: String| Error::Internal(DataFusionError::Internal(what));
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name("plan".to_owned()).stack_size(STACK_BYTES);
        let running = builder.spawn_scoped(scope, work).map_err(|error| failed(format!("no thread for a plan: {error}")))?;
        running.join().map_err(|_| failed("reading or writing a plan panicked".to_owned()))
    })
}

/// Knows [`AgentTable`], which travels as its name; the schema is in the plan.
#[derive(Debug)]
struct PlanCodec {
    bound: Option<Bound>,
}

impl LogicalExtensionCodec for PlanCodec {
    fn try_decode(&self, _: &[u8], _: &[LogicalPlan], _: &TaskContext) -> Result<Extension> {
        not_impl_err!("there are no logical operators of our own")
    }

    fn try_encode(&self, node: &Extension, _: &mut Vec<u8>) -> Result<()> {
        not_impl_err!("operator {} cannot travel", node.node.name())
    }

    fn try_decode_table_provider(
        &self,
        bytes: &[u8],
        table: &TableReference,
        schema: SchemaRef,
        _: &TaskContext,
    ) -> Result<Arc<dyn TableProvider>> {
        let Ok(name) = std::str::from_utf8(bytes) else { return internal_err!("table {table} has no name") };
        Ok(Arc::new(AgentTable { name: name.to_owned(), schema, bound: self.bound.clone() }))
    }

    fn try_encode_table_provider(&self, table: &TableReference, provider: Arc<dyn TableProvider>, bytes: &mut Vec<u8>) -> Result<()> {
        let Some(agent_table) = provider.downcast_ref::<AgentTable>() else { return internal_err!("table {table} cannot travel") };
        bytes.extend_from_slice(agent_table.name().as_bytes());
        Ok(())
    }
}
