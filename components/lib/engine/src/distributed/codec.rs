//! Leaves on their way to agents.

use std::sync::Arc;

use datafusion::arrow::datatypes::Schema;
use datafusion::common::{Result, exec_datafusion_err, internal_err};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::{
    DefaultPhysicalExtensionCodec, PhysicalExtensionCodec, PhysicalPlanDecodeContext, PhysicalProtoConverterExtension,
};
use datafusion_proto::protobuf;
use ids::{AgentId, UnixNs};
use prost::Message;
use table_store::TimeRange;

use crate::bounded::Bounded;
use crate::distributed::leaf::{AgentScan, Asked, Target};

/// [`AgentScan`] of one agent.
#[derive(Clone, PartialEq, Message)]
struct LeafMessage {
    #[prost(string, tag = "1")]
    table: String,
    #[prost(message, optional, tag = "2")]
    schema: Option<protobuf::Schema>,
    #[prost(message, optional, tag = "3")]
    projection: Option<ColumnsMessage>,
    #[prost(message, repeated, tag = "4")]
    filters: Vec<protobuf::PhysicalExprNode>,
    #[prost(sint64, tag = "5")]
    first_ns: i64,
    #[prost(sint64, tag = "6")]
    last_ns: i64,
    #[prost(uint64, optional, tag = "7")]
    rows_max: Option<u64>,
    #[prost(bytes = "vec", tag = "8")]
    agent: Vec<u8>,
    #[prost(bool, tag = "9")]
    streaming: bool,
}

#[derive(Clone, PartialEq, Message)]
struct ColumnsMessage {
    #[prost(uint64, repeated, tag = "1")]
    columns: Vec<u64>,
}

/// Knows [`AgentScan`]; the rest is DataFusion's.
#[derive(Debug)]
pub(crate) struct LeafCodec;

impl PhysicalExtensionCodec for LeafCodec {
    fn try_decode(
        &self,
        bytes: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        context: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if !inputs.is_empty() {
            return internal_err!("a leaf has no inputs, got {}", inputs.len());
        }
        let leaf = LeafMessage::decode(bytes).map_err(|error| exec_datafusion_err!("not a leaf: {error}"))?;
        let Some(schema) = &leaf.schema else { return internal_err!("a leaf without a schema") };
        let Ok(agent) = <[u8; 16]>::try_from(leaf.agent.as_slice()) else { return internal_err!("a leaf without an agent") };
        let schema: Schema = schema.try_into()?;
        let codec = DefaultPhysicalExtensionCodec {};
        let decode = PhysicalPlanDecodeContext::new(context, &codec);
        let filters = leaf.filters.iter().map(|filter| converter.proto_to_physical_expr(filter, &schema, &decode));
        let asked = Asked {
            table: leaf.table,
            filters: filters.collect::<Result<_>>()?,
            schema: Arc::new(schema),
            bounded: Bounded {
                projection: leaf.projection.map(|projection| projection.columns.into_iter().map(|column| column as usize).collect()),
                times: TimeRange { first: UnixNs(leaf.first_ns), last: UnixNs(leaf.last_ns) },
                rows_max: leaf.rows_max.map(|rows| rows as usize),
            },
            streaming: leaf.streaming,
        };
        Ok(Arc::new(AgentScan::of_one(asked, AgentId::from_bytes(agent))?))
    }

    fn try_encode(&self, node: Arc<dyn ExecutionPlan>, bytes: &mut Vec<u8>, converter: &dyn PhysicalProtoConverterExtension) -> Result<()> {
        let Some(scan) = node.downcast_ref::<AgentScan>() else { return internal_err!("{} cannot travel", node.name()) };
        let Target::One(agent) = scan.target() else { return internal_err!("a leaf of all agents cannot travel") };
        let asked = scan.asked();
        let Bounded { projection, times, rows_max } = &asked.bounded;
        let codec = DefaultPhysicalExtensionCodec {};
        let columns = |columns: &Vec<usize>| ColumnsMessage { columns: columns.iter().map(|column| *column as u64).collect() };
        let leaf = LeafMessage {
            table: asked.table.clone(),
            schema: Some(asked.schema.as_ref().try_into()?),
            projection: projection.as_ref().map(columns),
            filters: asked.filters.iter().map(|filter| converter.physical_expr_to_proto(filter, &codec)).collect::<Result<_>>()?,
            first_ns: times.first.0,
            last_ns: times.last.0,
            rows_max: rows_max.map(|rows| rows as u64),
            agent: agent.to_bytes().to_vec(),
            streaming: asked.streaming,
        };
        leaf.encode(bytes).map_err(|error| exec_datafusion_err!("cannot write a leaf: {error}"))
    }
}
