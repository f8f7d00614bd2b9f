//! What the broker asks for, as the engine takes it. Anything wrong is named by its field.

use std::time::Duration;

use api::internal::{ExecutePlanRequest, PlanColumn, PlanOutput};
use engine::distributed::{PLAN_VERSION, QuerySpec};
use ids::{AgentId, QueryId};
use pxl::Export;
use tables::{ColumnDef, DataType, Relation, SemanticType};
use tonic::Status;

/// Agents of one query: all that a Kelvin can have.
const AGENTS_MAX: usize = 10_000;
/// Outputs of one query. A script has at most some dozens.
const OUTPUTS_MAX: usize = 256;
/// Columns of one output.
const COLUMNS_MAX: usize = 1_000;

pub(crate) fn query_id(bytes: &[u8]) -> Result<QueryId, Box<Status>> {
    id(bytes, "query_id").map(QueryId::from_bytes)
}

/// Which outputs are exported, and where to. Taken out of the request.
pub(crate) fn take_exports(request: &mut ExecutePlanRequest) -> Result<Vec<(usize, Export)>, Box<Status>> {
    let outputs = request.outputs.iter_mut().enumerate();
    let exports = outputs.filter_map(|(at, output)| Some((at, output.export.take()?)));
    let decode = |(at, export)| match otel::decode(export) {
        Ok(export) => Ok((at, export)),
        Err(error) => Err(wrong(&format!("outputs[{at}].export"), &error.to_string())),
    };
    exports.map(decode).collect()
}

pub(crate) fn decode(request: ExecutePlanRequest, time_max: Duration) -> Result<QuerySpec, Box<Status>> {
    if request.plan_version != PLAN_VERSION {
        let versions = format!("the plan is of `{}`, this Kelvin runs plans of `{PLAN_VERSION}`", request.plan_version);
        return Err(Box::new(Status::failed_precondition(versions)));
    }
    at_most("agent_ids", request.agent_ids.len(), AGENTS_MAX)?;
    at_most("outputs", request.outputs.len(), OUTPUTS_MAX)?;
    let asked = Duration::from_millis(request.time_max_ms);
    let agents = request.agent_ids.iter().enumerate();
    let outputs = request.outputs.into_iter().enumerate();
    Ok(QuerySpec {
        query: query_id(&request.query_id)?,
        agents: agents.map(|(at, bytes)| id(bytes, &format!("agent_ids[{at}]")).map(AgentId::from_bytes)).collect::<Result<_, _>>()?,
        outputs: outputs.map(|(at, output)| decode_output(output, &format!("outputs[{at}]"))).collect::<Result<_, _>>()?,
        time_max: if asked.is_zero() { time_max } else { asked.min(time_max) },
        streaming: request.streaming,
        analyze: request.analyze,
    })
}

fn decode_output(output: PlanOutput, field: &str) -> Result<(Vec<u8>, Relation), Box<Status>> {
    at_most(&format!("{field}.columns"), output.columns.len(), COLUMNS_MAX)?;
    let columns = output.columns.into_iter().enumerate();
    let columns = columns.map(|(at, column)| decode_column(column, &format!("{field}.columns[{at}]"))).collect::<Result<_, _>>()?;
    Ok((output.plan, Relation { columns }))
}

fn decode_column(column: PlanColumn, field: &str) -> Result<ColumnDef, Box<Status>> {
    let data_type = DataType::from_number(column.data_type).ok_or_else(|| wrong(&format!("{field}.data_type"), "unknown"))?;
    let semantic = SemanticType::from_number(column.semantic_type).ok_or_else(|| wrong(&format!("{field}.semantic_type"), "unknown"))?;
    Ok(ColumnDef { name: column.name, data_type, semantic_type: semantic })
}

fn id(bytes: &[u8], field: &str) -> Result<[u8; 16], Box<Status>> {
    bytes.try_into().map_err(|_| wrong(field, "not 16 bytes"))
}

fn at_most(field: &str, number: usize, max: usize) -> Result<(), Box<Status>> {
    if number > max { Err(wrong(field, &format!("{number} of them, at most {max} are taken"))) } else { Ok(()) }
}

#[expect(clippy::unnecessary_box_returns, reason = "every status travels boxed, as the error of a Result")]
fn wrong(field: &str, what: &str) -> Box<Status> {
    Box::new(Status::invalid_argument(format!("{field}: {what}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME_MAX: Duration = Duration::from_mins(1);

    fn request() -> ExecutePlanRequest {
        let column = PlanColumn { name: "n".to_owned(), data_type: DataType::Int64.number(), semantic_type: SemanticType::None.number() };
        ExecutePlanRequest {
            query_id: vec![1; 16],
            plan_version: PLAN_VERSION.to_owned(),
            agent_ids: vec![vec![2; 16]],
            outputs: vec![PlanOutput { plan: vec![3], columns: vec![column], export: None }],
            time_max_ms: 0,
            streaming: false,
            explain: false,
            analyze: false,
        }
    }

    #[test]
    fn a_request_reads_as_it_was_meant() {
        let spec = decode(request(), TIME_MAX).unwrap();
        assert_eq!((spec.query, spec.agents), (QueryId::from_bytes([1; 16]), vec![AgentId::from_bytes([2; 16])]));
        assert_eq!((spec.outputs[0].0.as_slice(), spec.outputs[0].1.columns[0].data_type), (&[3_u8][..], DataType::Int64));
        assert_eq!(spec.time_max, TIME_MAX);
        for (asked_ms, got) in [(1500, Duration::from_millis(1500)), (u64::MAX, TIME_MAX)] {
            assert_eq!(decode(ExecutePlanRequest { time_max_ms: asked_ms, ..request() }, TIME_MAX).unwrap().time_max, got);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let check = |change: &dyn Fn(&mut ExecutePlanRequest), want: &str| {
            let mut request = request();
            change(&mut request);
            let status = decode(request, TIME_MAX).unwrap_err();
            assert!(status.message().starts_with(want), "{}", status.message());
        };
        check(&|request| request.query_id.truncate(3), "query_id: not 16 bytes");
        check(&|request| request.agent_ids.push(vec![1; 17]), "agent_ids[1]: not 16 bytes");
        check(&|request| request.agent_ids = vec![vec![1; 16]; 10_001], "agent_ids: 10001 of them, at most 10000 are taken");
        check(&|request| request.outputs[0].columns[0].data_type = 99, "outputs[0].columns[0].data_type: unknown");
        check(&|request| request.outputs[0].columns[0].semantic_type = -1, "outputs[0].columns[0].semantic_type: unknown");
        check(&|request| request.plan_version = "older".to_owned(), "the plan is of `older`, this Kelvin runs plans of `vizier");
    }
}
