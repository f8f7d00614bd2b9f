//! Plans and rows between Kelvin and the query broker: DataFusion's plans and Arrow's own IPC messages inside ours.

use std::error::Error as _;
use std::sync::Arc;

use api::internal::{MayMatterRequest, OutputRows, OutputSchema, PlanColumn, PlanOutput, WantedOneOf, WantedScan};
use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::convert::fb_to_schema;
use arrow::ipc::reader::read_record_batch;
use arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};
use arrow::ipc::{MetadataVersion, root_as_message};
use bytes::Bytes;
use engine::distributed::{OneOf, Wanted, encode_plan};
use ids::Asid;
use tonic::Status;

use crate::hub::with_causes;

/// Rows are cut into messages of about this size: small enough to be passed on while the next one is made.
pub const ROWS_BYTES_MAX: usize = 1024 * 1024;

/// How an output is made. Where its rows go, if not to whoever asks, is not in it.
///
/// # Errors
/// As [`encode_plan`].
pub fn encode_output(output: &pxl::Output) -> Result<PlanOutput, engine::Error> {
    let columns = output.relation.columns.iter().map(|column| PlanColumn {
        name: column.name.clone(),
        data_type: column.data_type.number(),
        semantic_type: column.semantic_type.number(),
    });
    Ok(PlanOutput { plan: encode_plan(&output.plan)?, columns: columns.collect(), export: None })
}

/// The columns of an output.
pub fn encode_schema(output: u32, schema: &SchemaRef) -> OutputSchema {
    let mut dictionaries = DictionaryTracker::new(true);
    let encoded =
        IpcDataGenerator::default().schema_to_bytes_with_dictionary_tracker(schema, &mut dictionaries, &IpcWriteOptions::default());
    OutputSchema { output, header: encoded.ipc_message }
}

/// The inverse of [`encode_schema`].
///
/// # Errors
/// The message holds something else.
pub fn decode_schema(message: &OutputSchema) -> Result<SchemaRef, ArrowError> {
    let wrong = |what: String| ArrowError::IpcError(format!("not a schema: {what}"));
    let header = root_as_message(&message.header).map_err(|error| wrong(error.to_string()))?;
    let schema = header.header_as_schema().ok_or_else(|| wrong(format!("{:?}", header.header_type())))?;
    Ok(Arc::new(fb_to_schema(schema)))
}

/// Rows of an output, in as many messages as they need. Columns are plain: dictionaries do not travel.
///
/// # Errors
/// Arrow cannot write a column.
pub fn encode_rows(output: u32, rows: &RecordBatch) -> Result<Vec<OutputRows>, ArrowError> {
    let bytes = rows.columns().iter().map(|column| column.to_data().get_slice_memory_size()).sum::<Result<usize, _>>()?;
    let messages = bytes.div_ceil(ROWS_BYTES_MAX).max(1);
    let step = rows.num_rows().div_ceil(messages).max(1);
    let slices = (0..rows.num_rows()).step_by(step).map(|from| rows.slice(from, step.min(rows.num_rows() - from)));
    slices.map(|slice| encode_message(output, &slice)).collect()
}

fn encode_message(output: u32, rows: &RecordBatch) -> Result<OutputRows, ArrowError> {
    let mut dictionaries = DictionaryTracker::new(true);
    let options = IpcWriteOptions::default();
    let (_, encoded) = IpcDataGenerator::default().encode(rows, &mut dictionaries, &options, &mut IpcWriteContext::default())?;
    Ok(OutputRows { output, header: encoded.ipc_message.into(), body: encoded.arrow_data.into() })
}

/// Rows in the schema of their output.
///
/// # Errors
/// The message holds something else, or not all of it.
pub fn decode_rows(message: &OutputRows, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let wrong = |what: String| ArrowError::IpcError(format!("not a record batch: {what}"));
    let header = root_as_message(&message.header).map_err(|error| wrong(error.to_string()))?;
    let batch = header.header_as_record_batch().ok_or_else(|| wrong(format!("{:?}", header.header_type())))?;
    let outside = |at: i64, length: i64| match (usize::try_from(at), usize::try_from(length)) {
        (Ok(at), Ok(length)) => at.checked_add(length).is_none_or(|end| end > message.body.len()),
        (Err(_), _) | (_, Err(_)) => true,
    };
    // Arrow's reader would panic.
    if batch.buffers().is_some_and(|buffers| buffers.iter().any(|buffer| outside(buffer.offset(), buffer.length()))) {
        return Err(wrong("its body is cut".to_owned()));
    }
    let body = Buffer::from(Bytes::clone(&message.body));
    read_record_batch(&body, batch, Arc::clone(schema), &std::collections::HashMap::new(), None, &MetadataVersion::V5)
}

/// What a query wants of agents, for one of them.
pub(crate) fn encode_wanted(wanted: &Wanted) -> MayMatterRequest {
    let one_of = |condition: &OneOf| match condition {
        OneOf::Names(names) => WantedOneOf { names: names.clone(), ..WantedOneOf::default() },
        OneOf::Agents(asids) => WantedOneOf { asids: asids.iter().map(|asid| asid.0).collect(), ..WantedOneOf::default() },
    };
    let any = [Vec::new()];
    let scans = wanted.scans().unwrap_or(&any);
    MayMatterRequest { scans: scans.iter().map(|scan| WantedScan { all: scan.iter().map(one_of).collect() }).collect() }
}

/// The inverse of [`encode_wanted`]. A condition with neither names nor numbers is one that no agent fulfils.
pub(crate) fn decode_wanted(request: MayMatterRequest) -> Wanted {
    let one_of = |condition: WantedOneOf| {
        if condition.names.is_empty() {
            OneOf::Agents(condition.asids.into_iter().map(Asid).collect())
        } else {
            OneOf::Names(condition.names)
        }
    };
    Wanted::of_scans(request.scans.into_iter().map(|scan| scan.all.into_iter().map(one_of).collect()).collect())
}

/// A status that a call to Kelvin ended with: UNAVAILABLE if the connection broke, as whatever HTTP/2 calls that. Then another Kelvin may be
/// asked. What Kelvin itself has said stays as it is.
pub fn of_kelvin(status: Status) -> Status {
    // A status that came over the wire has no cause on this side.
    match status.source() {
        Some(cause) => Status::unavailable(format!("the connection with Kelvin broke: {}", with_causes(cause))),
        None => status,
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    fn rows(count: usize) -> RecordBatch {
        let schema = Schema::new(vec![Field::new("id", DataType::Int64, false), Field::new("text", DataType::Utf8, false)]);
        let text = StringArray::from_iter_values((0..count).map(|row| format!("{row:0>1000}")));
        let ids = Int64Array::from_iter_values(0..count as i64);
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(ids), Arc::new(text)]).unwrap()
    }

    #[test]
    fn rows_read_back_however_many() {
        for count in [0, 1, 7, 5000] {
            let rows = rows(count);
            let schema = decode_schema(&encode_schema(3, &rows.schema())).unwrap();
            let messages = encode_rows(3, &rows).unwrap();
            assert!(messages.iter().all(|message| message.output == 3 && message.body.len() <= ROWS_BYTES_MAX + 64 * 1024));
            let back: Vec<_> = messages.iter().map(|message| decode_rows(message, &schema).unwrap()).collect();
            assert_eq!(arrow::compute::concat_batches(&schema, &back).unwrap(), rows);
        }
    }

    #[test]
    fn what_is_cut_or_mixed_up_is_an_error() {
        let rows = rows(7);
        let message = encode_rows(0, &rows).unwrap().remove(0);
        let cut = OutputRows { body: message.body.slice(0..8), ..message.clone() };
        assert!(decode_rows(&cut, &rows.schema()).is_err());
        let swapped = OutputRows { header: encode_schema(0, &rows.schema()).header.into(), ..message };
        assert!(decode_rows(&swapped, &rows.schema()).is_err());
        assert!(decode_schema(&OutputSchema { output: 0, header: vec![1, 2, 3] }).is_err());
    }
}
