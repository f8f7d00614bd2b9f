//! The messages of a run.

use api::vizierpb::error_details::Error as Detail;
use api::vizierpb::execute_script_response::Result as Body;
use api::vizierpb::{
    CompilerError, ErrorDetails, ExecuteScriptResponse, MutationInfo, QueryData, QueryExecutionStats, QueryMetadata, QueryTimingInfo,
    RowBatchData, Status, mutation_info,
};
use ids::QueryId;
use prost::Message as _;
use tonic::Code;

use crate::encode;
use crate::encrypt::Sealer;
use crate::engine::{CompileFailure, Output, Problem, RunFailure};
use crate::mutations::{Mutated, MutationFailure, Readiness};

/// What a run cost.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cost {
    pub(crate) compile_ns: i64,
    pub(crate) execute_ns: i64,
    pub(crate) bytes: i64,
    pub(crate) records: i64,
}

/// A failure as a message shows it, and as the call's end does.
pub(crate) struct Failure {
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) problems: Vec<Problem>,
}

impl Failure {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Failure {
        Failure { code, message: message.into(), problems: Vec::new() }
    }

    /// As a message shows it.
    pub(crate) fn status(&self) -> Status {
        let detail = |p: &Problem| ErrorDetails {
            error: Some(Detail::CompilerError(CompilerError {
                line: u64::from(p.line),
                column: u64::from(p.column),
                message: p.message.clone(),
            })),
        };
        Status { code: self.code as i32, message: self.message.clone(), error_details: self.problems.iter().map(detail).collect() }
    }

    /// The end of the call.
    pub(crate) fn trailer(&self) -> tonic::Status {
        tonic::Status::new(self.code, self.message.clone())
    }
}

impl From<CompileFailure> for Failure {
    fn from(failure: CompileFailure) -> Failure {
        match failure {
            CompileFailure::Script(problems) => {
                let texts: Vec<_> = problems.iter().map(|p| format!("{}:{}: {}", p.line, p.column, p.message)).collect();
                Failure { code: Code::InvalidArgument, message: texts.join("\n"), problems }
            }
            CompileFailure::TooLarge(message) => Failure::new(Code::ResourceExhausted, message),
            CompileFailure::NotReady(message) => Failure::new(Code::Unavailable, message),
            CompileFailure::Internal(message) => Failure::new(Code::Internal, message),
        }
    }
}

impl From<MutationFailure> for Failure {
    fn from(failure: MutationFailure) -> Failure {
        match failure {
            MutationFailure::Compile(failure) => failure.into(),
            MutationFailure::Unsupported(message) => Failure::new(Code::Unimplemented, message),
            MutationFailure::Refused(message) => Failure::new(Code::InvalidArgument, message),
            MutationFailure::Unavailable(message) => Failure::new(Code::Unavailable, message),
        }
    }
}

impl From<RunFailure> for Failure {
    fn from(failure: RunFailure) -> Failure {
        match failure {
            RunFailure::ResourceExhausted(message) => Failure::new(Code::ResourceExhausted, message),
            RunFailure::InvalidArgument(message) => Failure::new(Code::InvalidArgument, message),
            RunFailure::DeadlineExceeded(message) => Failure::new(Code::DeadlineExceeded, message),
            RunFailure::FailedPrecondition(message) => Failure::new(Code::FailedPrecondition, message),
            RunFailure::Unavailable(message) => Failure::new(Code::Unavailable, message),
            RunFailure::Cancelled(message) => Failure::new(Code::Cancelled, message),
            RunFailure::Export(message) => Failure::new(Code::Aborted, message),
            RunFailure::Internal(message) => Failure::new(Code::Internal, message),
        }
    }
}

/// Makes the messages of one run: each carries its query's id.
pub(crate) struct Messages {
    pub(crate) query_id: QueryId,
    pub(crate) sealer: Option<Sealer>,
}

impl Messages {
    pub(crate) fn failure(&self, failure: &Failure) -> ExecuteScriptResponse {
        let status = failure.status();
        ExecuteScriptResponse { status: Some(status), query_id: self.query_id.to_string(), ..Default::default() }
    }

    /// How the changes of a script stand, and why the call ends here, if it does.
    pub(crate) fn mutated(&self, mutated: &Mutated) -> (ExecuteScriptResponse, Option<tonic::Status>) {
        let end = match &mutated.readiness {
            Readiness::Ready => None,
            Readiness::Pending(why) => Some(tonic::Status::unavailable(why.clone())),
            Readiness::Failed(why) => Some(tonic::Status::internal(why.clone())),
        };
        let status = end.as_ref().map_or_else(Status::default, |end| Status {
            code: end.code() as i32,
            message: end.message().to_owned(),
            error_details: Vec::new(),
        });
        let states = mutated.states.iter().map(|tracepoint| mutation_info::MutationState {
            id: tracepoint.id.clone(),
            state: tracepoint.state as i32,
            name: tracepoint.name.clone(),
        });
        let info = MutationInfo { status: Some(status), states: states.collect() };
        let message = ExecuteScriptResponse { query_id: self.query_id.to_string(), mutation_info: Some(info), ..Default::default() };
        (message, end)
    }

    pub(crate) fn announcement(&self, output: &Output, table_id: &str) -> ExecuteScriptResponse {
        self.with(Body::MetaData(QueryMetadata {
            relation: Some(encode::relation(&output.relation)),
            name: output.name.clone(),
            id: table_id.to_owned(),
        }))
    }

    /// The error is our fault.
    pub(crate) fn rows(&self, batch: RowBatchData) -> Result<ExecuteScriptResponse, String> {
        let mut data = QueryData::default();
        match &self.sealer {
            Some(sealer) => data.encrypted_batch = sealer.seal(batch.encode_to_vec())?.into(),
            None => data.batch = Some(batch),
        }
        Ok(self.with(Body::Data(data)))
    }

    pub(crate) fn statistics(&self, cost: Cost) -> ExecuteScriptResponse {
        let timing = QueryTimingInfo { execution_time_ns: cost.execute_ns, compilation_time_ns: cost.compile_ns };
        let stats = QueryExecutionStats { timing: Some(timing), bytes_processed: cost.bytes, records_processed: cost.records };
        self.with(Body::Data(QueryData { execution_stats: Some(stats), ..Default::default() }))
    }

    fn with(&self, body: Body) -> ExecuteScriptResponse {
        ExecuteScriptResponse { query_id: self.query_id.to_string(), result: Some(body), ..Default::default() }
    }
}
