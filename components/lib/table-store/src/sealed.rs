//! The form in which old rows are kept: every column by itself, encoded for its type, then packed. It never leaves the process.

use std::sync::Arc;

use ahash::AHashMap;
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeBinaryArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampNanosecondArray, UInt32Array,
};
use arrow::buffer::{BooleanBuffer, Buffer, OffsetBuffer};
use arrow::compute::take;
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampNanosecondType};
use arrow::error::ArrowError;

use crate::Error;
use crate::codec::{Frame, Packer, Unpacker, deltas, transpose, undeltas, untranspose};

/// Rows per distinct value from which a dictionary pays: below, its keys cost more than the repetitions zstd finds anyway.
const DICTIONARY_REPEATS_MIN: usize = 2;

/// Width of UINT128.
const WIDE: usize = tables::UINT128_BYTES as usize;

#[derive(Debug)]
enum Column {
    Booleans(Frame),
    Integers(Frame),
    Times(Frame),
    Floats(Frame),
    /// UINT128 values, each byte plane by itself.
    Wides(Frame),
    Strings {
        lengths: Frame,
        bytes: Frame,
    },
    /// Keys into the distinct values, which are a column of their own.
    Dictionary {
        keys: Frame,
        entries: u32,
        values: Box<Column>,
    },
}

/// The columns of one batch, packed.
#[derive(Debug)]
pub(crate) struct SealedColumns {
    columns: Box<[Column]>,
    packed: Box<[u8]>,
}

impl SealedColumns {
    pub(crate) fn seal(packer: &mut Packer, batch: &RecordBatch) -> Result<Self, Error> {
        let columns = batch.columns().iter().map(|column| pack(packer, column)).collect::<Result<_, _>>()?;
        Ok(Self { columns, packed: packer.take() })
    }

    /// What it holds, itself included.
    pub(crate) fn bytes(&self) -> usize {
        let boxed = self.columns.iter().filter(|c| matches!(c, Column::Dictionary { .. })).count();
        self.packed.len() + (self.columns.len() + boxed) * size_of::<Column>()
    }

    /// One column, as it was.
    pub(crate) fn column(&self, unpacker: &mut Unpacker, column: usize, rows: usize) -> Result<ArrayRef, Error> {
        let packed = self.columns.get(column).ok_or(Error::NoColumn { index: column, columns: self.columns.len() })?;
        Reader { unpacker, packed: &self.packed, column }.read(packed, rows)
    }
}

fn pack(packer: &mut Packer, array: &ArrayRef) -> Result<Column, Error> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "tables have no column of another type")]
    match array.data_type() {
        DataType::Boolean => packer.put(array.as_boolean().values().sliced().as_slice()).map(Column::Booleans),
        DataType::Int64 => {
            let values = array.as_primitive::<Int64Type>().values();
            packer.put(&transpose(values.iter().map(|v| v.to_le_bytes()))).map(Column::Integers)
        }
        DataType::Timestamp(_, _) => {
            let values = array.as_primitive::<TimestampNanosecondType>().values();
            packer.put(&transpose(deltas(values).map(u64::to_le_bytes))).map(Column::Times)
        }
        DataType::Float64 => {
            let values = array.as_primitive::<Float64Type>().values();
            packer.put(&transpose(values.iter().map(|v| v.to_le_bytes()))).map(Column::Floats)
        }
        DataType::FixedSizeBinary(_) => {
            let values = array.as_fixed_size_binary();
            pack_values(packer, &values.iter().flatten().collect::<Vec<_>>(), pack_wides)
        }
        DataType::Utf8 => {
            let values = array.as_string::<i32>();
            pack_values(packer, &values.iter().flatten().map(str::as_bytes).collect::<Vec<_>>(), pack_strings)
        }
        other => Err(Error::Arrow(ArrowError::NotYetImplemented(format!("sealing a column of {other}")))),
    }
}

type PackValues = fn(&mut Packer, &[&[u8]]) -> Result<Column, Error>;

fn pack_values(packer: &mut Packer, values: &[&[u8]], plain: PackValues) -> Result<Column, Error> {
    let Some((keys, entries)) = dictionary(values) else { return plain(packer, values) };
    let keys = match entries.len() {
        0..=0x100 => packer.put(&keys.iter().map(|key| *key as u8).collect::<Vec<_>>()),
        0x101..=0x1_0000 => packer.put(&transpose(keys.iter().map(|key| (*key as u16).to_le_bytes()))),
        _ => packer.put(&transpose(keys.iter().map(|key| key.to_le_bytes()))),
    }?;
    Ok(Column::Dictionary { keys, entries: entries.len() as u32, values: Box::new(plain(packer, &entries)?) })
}

/// A key per row and the distinct values in the order of their keys; none if a dictionary does not pay.
fn dictionary<'a>(values: &[&'a [u8]]) -> Option<(Vec<u32>, Vec<&'a [u8]>)> {
    let entries_max = values.len() / DICTIONARY_REPEATS_MIN;
    let (mut keys, mut entries, mut known) = (Vec::with_capacity(values.len()), Vec::new(), AHashMap::new());
    for value in values {
        let key = *known.entry(*value).or_insert(entries.len() as u32);
        if key as usize == entries.len() {
            if entries.len() == entries_max {
                return None;
            }
            entries.push(*value);
        }
        keys.push(key);
    }
    Some((keys, entries))
}

fn pack_wides(packer: &mut Packer, values: &[&[u8]]) -> Result<Column, Error> {
    let wides = values.iter().map(|v| v.first_chunk::<WIDE>().copied().unwrap_or_default());
    packer.put(&transpose(wides)).map(Column::Wides)
}

fn pack_strings(packer: &mut Packer, values: &[&[u8]]) -> Result<Column, Error> {
    let lengths = packer.put(&transpose(values.iter().map(|v| (v.len() as u32).to_le_bytes())))?;
    Ok(Column::Strings { lengths, bytes: packer.put(&values.concat())? })
}

struct Reader<'a> {
    unpacker: &'a mut Unpacker,
    packed: &'a [u8],
    column: usize,
}

impl Reader<'_> {
    fn read(&mut self, column: &Column, rows: usize) -> Result<ArrayRef, Error> {
        Ok(match column {
            Column::Booleans(frame) => {
                let bits = self.unpacker.get(self.packed, *frame)?;
                if bits.len() != rows.div_ceil(8) {
                    return Err(self.damaged());
                }
                Arc::new(BooleanArray::new(BooleanBuffer::new(Buffer::from_vec(bits), 0, rows), None))
            }
            Column::Integers(frame) => {
                Arc::new(Int64Array::from_iter_values(self.fixed(*frame, rows)?.into_iter().map(i64::from_le_bytes)))
            }
            Column::Times(frame) => {
                let deltas = self.fixed(*frame, rows)?.into_iter().map(u64::from_le_bytes);
                Arc::new(TimestampNanosecondArray::from(undeltas(deltas)))
            }
            Column::Floats(frame) => {
                Arc::new(Float64Array::from_iter_values(self.fixed(*frame, rows)?.into_iter().map(f64::from_le_bytes)))
            }
            Column::Wides(frame) => {
                let values = self.fixed::<WIDE>(*frame, rows)?.into_flattened();
                Arc::new(FixedSizeBinaryArray::try_new(tables::UINT128_BYTES, Buffer::from_vec(values), None)?)
            }
            Column::Strings { lengths, bytes } => {
                let lengths = self.fixed(*lengths, rows)?.into_iter().map(|length| u32::from_le_bytes(length) as usize);
                let bytes = self.unpacker.get(self.packed, *bytes)?;
                if i32::try_from(bytes.len()).is_err() || lengths.clone().try_fold(0, usize::checked_add) != Some(bytes.len()) {
                    return Err(self.damaged());
                }
                Arc::new(StringArray::try_new(OffsetBuffer::from_lengths(lengths), Buffer::from_vec(bytes), None)?)
            }
            Column::Dictionary { keys, entries, values } => {
                let values = self.read(values, *entries as usize)?;
                let keys = self.keys(*keys, *entries, rows)?;
                if keys.values().iter().any(|key| key >= entries) {
                    return Err(self.damaged());
                }
                take(&values, &keys, None)?
            }
        })
    }

    fn keys(&mut self, frame: Frame, entries: u32, rows: usize) -> Result<UInt32Array, Error> {
        Ok(match entries {
            0..=0x100 => self.fixed::<1>(frame, rows)?.into_iter().map(|key| u32::from(key[0])).collect::<Vec<_>>(),
            0x101..=0x1_0000 => self.fixed(frame, rows)?.into_iter().map(|key| u32::from(u16::from_le_bytes(key))).collect(),
            _ => self.fixed(frame, rows)?.into_iter().map(u32::from_le_bytes).collect(),
        }
        .into())
    }

    fn fixed<const WIDTH: usize>(&mut self, frame: Frame, rows: usize) -> Result<Vec<[u8; WIDTH]>, Error> {
        let planes = self.unpacker.get(self.packed, frame)?;
        untranspose(&planes, rows).ok_or_else(|| self.damaged())
    }

    fn damaged(&self) -> Error {
        Error::Damaged { column: self.column }
    }
}
