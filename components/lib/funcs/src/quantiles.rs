//! Quantiles of a column as JSON, by a t-digest: small, mergeable, precise at the ends.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Int64Type};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Signature, TypeSignature, Volatility};
use datafusion_functions_aggregate_common::tdigest::{Centroid, TDigest};

/// Centroids of a digest. Reference: udfs.tsv, compression 1000.
const COMPRESSION: usize = 1000;
/// Values gathered before they are merged into the digest: a merge sorts, and costs a pass over the centroids.
const BUFFER_MAX: usize = 4096;
/// Quantiles shown, by their key. Reference: udfs.tsv.
const SHOWN: [(&str, f64); 7] = [("p01", 0.01), ("p10", 0.1), ("p25", 0.25), ("p50", 0.5), ("p75", 0.75), ("p90", 0.9), ("p99", 0.99)];

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Quantiles {
    signature: Signature,
}

impl Default for Quantiles {
    fn default() -> Quantiles {
        let types = vec![TypeSignature::Exact(vec![DataType::Int64]), TypeSignature::Exact(vec![DataType::Float64])];
        Quantiles { signature: Signature::one_of(types, Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for Quantiles {
    fn name(&self) -> &'static str {
        "px_quantiles"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _args: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn is_nullable(&self) -> bool {
        false
    }

    fn default_value(&self, _data_type: &DataType) -> Result<ScalarValue> {
        Ok(ScalarValue::Utf8(Some(Digest::default().json())))
    }

    fn accumulator(&self, _args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Digest::default()))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format!("{}[digest]", args.name), DataType::Binary, false))])
    }
}

/// The state of one group.
#[derive(Debug)]
struct Digest {
    merged: TDigest,
    buffer: Vec<f64>,
}

impl Default for Digest {
    fn default() -> Digest {
        Digest { merged: TDigest::new(COMPRESSION), buffer: Vec::new() }
    }
}

impl Digest {
    /// Values that are no numbers have no place among the others.
    fn push(&mut self, value: f64) {
        if value.is_finite() {
            self.buffer.push(value);
            if self.buffer.len() >= BUFFER_MAX {
                self.flush();
            }
        }
    }

    fn flush(&mut self) {
        if !self.buffer.is_empty() {
            self.merged = self.merged.merge_unsorted_f64(std::mem::take(&mut self.buffer));
        }
    }

    fn json(&mut self) -> String {
        self.flush();
        let empty = self.merged.count() <= 0.0;
        let quantile = |q: f64| if empty { 0.0 } else { self.merged.estimate_quantile(q) };
        let shown: serde_json::Map<String, serde_json::Value> =
            SHOWN.iter().map(|(key, q)| ((*key).to_owned(), quantile(*q).into())).collect();
        serde_json::Value::Object(shown).to_string()
    }

    /// Sum, count, maximum, minimum, then mean and weight of each centroid; all little-endian doubles.
    fn encode(&mut self) -> Vec<u8> {
        self.flush();
        let head = [self.merged.sum(), self.merged.count(), self.merged.max(), self.merged.min()];
        let centroids = self.merged.centroids().iter().flat_map(|c| [c.mean(), c.weight()]);
        head.into_iter().chain(centroids).flat_map(f64::to_le_bytes).collect()
    }

    fn decode(bytes: &[u8]) -> Result<TDigest> {
        let wrong = || DataFusionError::Execution("the state of quantiles is damaged".to_owned());
        let (numbers, rest) = bytes.as_chunks::<8>();
        let mut numbers = numbers.iter().map(|bytes| f64::from_le_bytes(*bytes));
        let mut next = || numbers.next().ok_or_else(wrong);
        let (sum, count, max, min) = (next()?, next()?, next()?, next()?);
        let centroids: Vec<f64> = numbers.collect();
        if !rest.is_empty() || !centroids.len().is_multiple_of(2) {
            return Err(wrong());
        }
        let centroids = centroids.chunks_exact(2).map(|pair| Centroid::new(pair[0], pair[1])).collect();
        TDigest::try_from_parts(COMPRESSION, sum, count, max, min, centroids)
    }
}

impl Accumulator for Digest {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [values] = values else { return Err(DataFusionError::Internal("quantiles takes one column".to_owned())) };
        if let Some(ints) = values.as_primitive_opt::<Int64Type>() {
            ints.values().iter().for_each(|value| self.push(*value as f64));
        } else if let Some(floats) = values.as_primitive_opt::<Float64Type>() {
            floats.values().iter().for_each(|value| self.push(*value));
        } else {
            return Err(DataFusionError::Internal(format!("quantiles does not take {}", values.data_type())));
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Utf8(Some(self.json())))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.merged.size() + self.buffer.capacity() * size_of::<f64>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Binary(Some(self.encode()))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let wrong = || DataFusionError::Internal("quantiles merges one column of digests".to_owned());
        let states = states.first().and_then(|array| array.as_binary_opt::<i32>()).ok_or_else(wrong)?;
        self.flush();
        let mut digests = vec![std::mem::replace(&mut self.merged, TDigest::new(COMPRESSION))];
        for state in states.iter().flatten() {
            let digest = Digest::decode(state)?;
            if digest.count() > 0.0 {
                digests.push(digest);
            }
        }
        digests.retain(|digest| digest.count() > 0.0);
        if !digests.is_empty() {
            self.merged = TDigest::merge_digests(&digests);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{BinaryArray, Float64Array};

    fn of(values: impl IntoIterator<Item = f64>) -> Digest {
        let mut digest = Digest::default();
        let values: ArrayRef = Arc::new(Float64Array::from_iter_values(values));
        digest.update_batch(&[values]).unwrap();
        digest
    }

    fn quantile(digest: &mut Digest, key: &str) -> f64 {
        serde_json::from_str::<serde_json::Value>(&digest.json()).unwrap()[key].as_f64().unwrap()
    }

    #[test]
    fn quantiles_of_a_known_distribution_are_close() {
        let mut digest = of((0..100_000).map(f64::from));
        for (key, q) in SHOWN {
            assert!((quantile(&mut digest, key) - q * 100_000.0).abs() < 200.0, "{key}: {}", digest.json());
        }
    }

    #[test]
    fn parts_merge_to_the_whole() {
        let mut whole = of((0..20_000).map(|i| f64::from(i * 7919 % 20_000)));
        let mut merged = Digest::default();
        for part in 0..5 {
            let mut digest = of((part * 4000..(part + 1) * 4000).map(|i| f64::from(i * 7919 % 20_000)));
            let ScalarValue::Binary(Some(state)) = digest.state().unwrap().remove(0) else { panic!("a state is bytes") };
            let states: ArrayRef = Arc::new(BinaryArray::from_vec(vec![&state]));
            merged.merge_batch(&[states]).unwrap();
        }
        for (key, _) in SHOWN {
            assert!((quantile(&mut whole, key) - quantile(&mut merged, key)).abs() < 100.0, "{key}");
        }
    }

    #[test]
    fn nothing_and_what_is_no_number_are_harmless() {
        assert_eq!(Digest::default().json(), r#"{"p01":0.0,"p10":0.0,"p25":0.0,"p50":0.0,"p75":0.0,"p90":0.0,"p99":0.0}"#);
        assert!((quantile(&mut of([f64::NAN, 5.0, f64::INFINITY]), "p99") - 5.0).abs() < f64::EPSILON);
        assert!(Digest::decode(&[1, 2, 3]).is_err());
        let mut empty = Digest::default();
        let state = empty.encode();
        assert!(Digest::decode(&state).is_ok());
    }
}
