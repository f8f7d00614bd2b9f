//! Bytes in and out of zstd frames, and the two rearrangements that make numbers compress.

use std::io;

use arrow::error::ArrowError;
use zstd::bulk::{Compressor, Decompressor};

use crate::Error;

/// Measured on http_events rows (`examples/history_per_mib.rs`) sealed at 1 MiB: level 3 keeps 0.2 % more, for more CPU.
pub(crate) const ZSTD_LEVEL: i32 = 1;

/// One zstd frame inside the bytes of a sealed batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    start: u32,
    len: u32,
    raw_len: u32,
}

/// Writes frames one after the other.
pub(crate) struct Packer {
    zstd: Compressor<'static>,
    scratch: Vec<u8>,
    packed: Vec<u8>,
}

impl Packer {
    pub(crate) fn new() -> Result<Self, Error> {
        Ok(Self { zstd: Compressor::new(ZSTD_LEVEL).map_err(Error::Zstd)?, scratch: Vec::new(), packed: Vec::new() })
    }

    pub(crate) fn put(&mut self, raw: &[u8]) -> Result<Frame, Error> {
        self.scratch.clear();
        self.scratch.reserve(zstd::zstd_safe::compress_bound(raw.len()));
        self.zstd.compress_to_buffer(raw, &mut self.scratch).map_err(Error::Zstd)?;
        let frame = Frame { start: narrow(self.packed.len())?, len: narrow(self.scratch.len())?, raw_len: narrow(raw.len())? };
        self.packed.extend_from_slice(&self.scratch);
        Ok(frame)
    }

    /// The frames' bytes; the packer is empty again.
    pub(crate) fn take(&mut self) -> Box<[u8]> {
        let packed = self.packed.as_slice().into();
        self.packed.clear();
        packed
    }
}

fn narrow(len: usize) -> Result<u32, Error> {
    u32::try_from(len).map_err(|_| Error::Arrow(ArrowError::OffsetOverflowError(len)))
}

/// Reads frames. One per scan: its window is reused.
pub(crate) struct Unpacker(Decompressor<'static>);

impl Unpacker {
    pub(crate) fn new() -> Result<Self, Error> {
        Decompressor::new().map(Self).map_err(Error::Zstd)
    }

    pub(crate) fn get(&mut self, packed: &[u8], frame: Frame) -> Result<Vec<u8>, Error> {
        let start = frame.start as usize;
        let bytes = packed.get(start..start + frame.len as usize).ok_or_else(|| Error::Zstd(io::ErrorKind::UnexpectedEof.into()))?;
        let raw = self.0.decompress(bytes, frame.raw_len as usize).map_err(Error::Zstd)?;
        if raw.len() != frame.raw_len as usize {
            return Err(Error::Zstd(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(raw)
    }
}

/// All first bytes, then all second bytes, and so on: the high bytes of small numbers become one run of zeros.
pub(crate) fn transpose<const WIDTH: usize>(values: impl ExactSizeIterator<Item = [u8; WIDTH]>) -> Vec<u8> {
    let rows = values.len();
    let mut planes = vec![0; rows * WIDTH];
    for (row, value) in values.enumerate() {
        for (plane, byte) in value.into_iter().enumerate() {
            planes[plane * rows + row] = byte;
        }
    }
    planes
}

/// The inverse of [`transpose`]; none if the bytes are not `rows` values.
pub(crate) fn untranspose<const WIDTH: usize>(planes: &[u8], rows: usize) -> Option<Vec<[u8; WIDTH]>> {
    if planes.len() != rows * WIDTH {
        return None;
    }
    let mut values = vec![[0; WIDTH]; rows];
    if rows > 0 {
        for (plane, bytes) in planes.chunks_exact(rows).enumerate() {
            for (value, byte) in values.iter_mut().zip(bytes) {
                value[plane] = *byte;
            }
        }
    }
    Some(values)
}

/// Differences of neighbours, small ones of either sign near zero. Times are nearly in order, so most are short.
pub(crate) fn deltas(values: &[i64]) -> impl ExactSizeIterator<Item = u64> {
    let mut before = 0;
    values.iter().map(move |value| {
        let delta = value.wrapping_sub(before);
        before = *value;
        ((delta << 1) ^ (delta >> 63)).cast_unsigned()
    })
}

/// The inverse of [`deltas`].
pub(crate) fn undeltas(deltas: impl IntoIterator<Item = u64>) -> Vec<i64> {
    let mut value = 0i64;
    let add = |delta: u64| {
        value = value.wrapping_add((delta >> 1).cast_signed() ^ -(delta & 1).cast_signed());
        value
    };
    deltas.into_iter().map(add).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_rearranged_comes_back(values in prop::collection::vec(any::<i64>(), 0..200)) {
            prop_assert_eq!(&undeltas(deltas(&values)), &values);
            let planes = transpose(values.iter().map(|v| v.to_le_bytes()));
            let back = untranspose::<8>(&planes, values.len()).unwrap();
            prop_assert_eq!(back.into_iter().map(i64::from_le_bytes).collect::<Vec<_>>(), values);
        }

        #[test]
        fn frames_come_back_and_damage_is_an_error(raws in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..5), at in any::<prop::sample::Index>()) {
            let mut packer = Packer::new().unwrap();
            let frames: Vec<_> = raws.iter().map(|raw| packer.put(raw).unwrap()).collect();
            let mut packed = packer.take().into_vec();
            let mut unpacker = Unpacker::new().unwrap();
            for (raw, frame) in raws.iter().zip(&frames) {
                prop_assert_eq!(&unpacker.get(&packed, *frame).unwrap(), raw);
            }
            packed.truncate(at.index(packed.len()));
            let last = *frames.last().unwrap();
            prop_assert!(unpacker.get(&packed, last).is_err());
        }
    }
}
