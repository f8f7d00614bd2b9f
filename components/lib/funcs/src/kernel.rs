//! Functions as loops over rows: typed readers of columns, typed writers, and the DataFusion function around them.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeBinaryArray, FixedSizeBinaryBuilder, Float64Array, Int64Array, StringArray,
    StringBuilder, TimestampNanosecondArray,
};
use arrow::datatypes::{DataType as ArrowType, Field, FieldRef, Float64Type, Int64Type, TimestampNanosecondType};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, TypeSignature, Volatility};
use tables::DataType;

/// Most bytes of one text that a function makes; what is longer is cut. Sums of columns, assigned over and over, would double without end.
pub const TEXT_BYTES_MAX: usize = 1 << 20;
/// Most bytes of text in one batch of results: Arrow's offsets end at 2 GiB, and memory before.
pub const TEXT_BATCH_BYTES_MAX: usize = 1 << 28;

/// One of PxL's types: how to read it from a column and how to make a column of it.
pub(crate) trait Kind: 'static {
    const TYPE: DataType;
    type Row<'a>;
    type Owned;
    type View: 'static;
    fn view(array: &dyn Array) -> Result<&Self::View>;
    fn row(view: &Self::View, row: usize) -> Self::Row<'_>;
    fn collect(rows: impl Iterator<Item = Self::Owned>) -> Result<ArrayRef>;
}

fn other_type(want: DataType, array: &dyn Array) -> DataFusionError {
    DataFusionError::Internal(format!("expected a {want} column, got {}", array.data_type()))
}

macro_rules! primitive_kind {
    ($name:ident, $type:ident, $native:ty, $array:ty, $view:ident $(:: <$arrow:ty>)?) => {
        #[derive(Debug)]
        pub(crate) struct $name;
        impl Kind for $name {
            const TYPE: DataType = DataType::$type;
            type Row<'a> = $native;
            type Owned = $native;
            type View = $array;
            fn view(array: &dyn Array) -> Result<&$array> {
                array.$view$(::<$arrow>)?().ok_or_else(|| other_type(Self::TYPE, array))
            }
            fn row(view: &$array, row: usize) -> $native {
                view.value(row)
            }
            fn collect(rows: impl Iterator<Item = $native>) -> Result<ArrayRef> {
                Ok(Arc::new(<$array>::from(rows.collect::<Vec<_>>())))
            }
        }
    };
}

primitive_kind!(Int, Int64, i64, Int64Array, as_primitive_opt::<Int64Type>);
primitive_kind!(Float, Float64, f64, Float64Array, as_primitive_opt::<Float64Type>);
primitive_kind!(Time, Time64Ns, i64, TimestampNanosecondArray, as_primitive_opt::<TimestampNanosecondType>);
primitive_kind!(Bool, Boolean, bool, BooleanArray, as_boolean_opt);

#[derive(Debug)]
pub(crate) struct Text;
impl Kind for Text {
    const TYPE: DataType = DataType::String;
    type Row<'a> = &'a str;
    type Owned = Cow<'static, str>;
    type View = StringArray;
    fn view(array: &dyn Array) -> Result<&StringArray> {
        array.as_string_opt::<i32>().ok_or_else(|| other_type(Self::TYPE, array))
    }
    fn row(view: &StringArray, row: usize) -> &str {
        view.value(row)
    }
    fn collect(rows: impl Iterator<Item = Cow<'static, str>>) -> Result<ArrayRef> {
        let mut builder = StringBuilder::new();
        let mut bytes = 0;
        for row in rows {
            let row = cut(&row, TEXT_BYTES_MAX);
            bytes += row.len();
            if bytes > TEXT_BATCH_BYTES_MAX {
                let message = format!("a function made more than {TEXT_BATCH_BYTES_MAX} bytes of text for one batch");
                return Err(DataFusionError::ResourcesExhausted(message));
            }
            builder.append_value(row);
        }
        Ok(Arc::new(builder.finish()))
    }
}

/// The beginning of a text, at most `max` bytes, ending between characters.
pub(crate) fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

#[derive(Debug)]
pub(crate) struct Wide;
impl Kind for Wide {
    const TYPE: DataType = DataType::Uint128;
    type Row<'a> = u128;
    type Owned = u128;
    type View = FixedSizeBinaryArray;
    fn view(array: &dyn Array) -> Result<&FixedSizeBinaryArray> {
        array.as_fixed_size_binary_opt().filter(|a| a.value_length() == tables::UINT128_BYTES).ok_or_else(|| other_type(Self::TYPE, array))
    }
    fn row(view: &FixedSizeBinaryArray, row: usize) -> u128 {
        <[u8; 16]>::try_from(view.value(row)).map_or(0, u128::from_be_bytes)
    }
    fn collect(rows: impl Iterator<Item = u128>) -> Result<ArrayRef> {
        let mut builder = FixedSizeBinaryBuilder::new(tables::UINT128_BYTES);
        for row in rows {
            builder.append_value(row.to_be_bytes())?;
        }
        Ok(Arc::new(builder.finish()))
    }
}

/// Arguments of one batch. Those that are the same for every row have one.
pub(crate) struct Columns {
    arrays: Vec<(ArrayRef, bool)>,
}

/// One argument, row by row.
pub(crate) struct Reader<'a, K: Kind> {
    view: &'a K::View,
    once: bool,
}

impl<K: Kind> Reader<'_, K> {
    pub(crate) fn row(&self, row: usize) -> K::Row<'_> {
        K::row(self.view, if self.once { 0 } else { row })
    }
}

impl Columns {
    /// No column of PxL holds NULL. Where DataFusion's optimizer tries an expression with one, it reads as what lies beneath: the type's default.
    pub(crate) fn reader<K: Kind>(&self, arg: usize) -> Result<Reader<'_, K>> {
        let (array, once) = self.arrays.get(arg).ok_or_else(|| DataFusionError::Internal(format!("argument {} is missing", arg + 1)))?;
        Ok(Reader { view: K::view(array)?, once: *once })
    }
}

/// What an overload does to one batch of so many rows.
pub(crate) type Kernel = Arc<dyn Fn(&Columns, usize) -> Result<ArrayRef> + Send + Sync>;

/// One overload: types of the arguments and of the result.
pub(crate) struct Overload {
    pub(crate) args: Vec<DataType>,
    pub(crate) returns: DataType,
    pub(crate) kernel: Kernel,
}

pub(crate) fn nullary<R: Kind>(f: impl Fn() -> R::Owned + Send + Sync + 'static) -> Overload {
    let kernel: Kernel = Arc::new(move |_, rows| R::collect((0..rows).map(|_| f())));
    Overload { args: vec![], returns: R::TYPE, kernel }
}

pub(crate) fn unary<A: Kind, R: Kind>(f: impl for<'a> Fn(A::Row<'a>) -> R::Owned + Send + Sync + 'static) -> Overload {
    let kernel: Kernel = Arc::new(move |columns, rows| {
        let a = columns.reader::<A>(0)?;
        R::collect((0..rows).map(|row| f(a.row(row))))
    });
    Overload { args: vec![A::TYPE], returns: R::TYPE, kernel }
}

pub(crate) fn binary<A: Kind, B: Kind, R: Kind>(
    f: impl for<'a, 'b> Fn(A::Row<'a>, B::Row<'b>) -> R::Owned + Send + Sync + 'static,
) -> Overload {
    let kernel: Kernel = Arc::new(move |columns, rows| {
        let (a, b) = (columns.reader::<A>(0)?, columns.reader::<B>(1)?);
        R::collect((0..rows).map(|row| f(a.row(row), b.row(row))))
    });
    Overload { args: vec![A::TYPE, B::TYPE], returns: R::TYPE, kernel }
}

pub(crate) fn ternary<A: Kind, B: Kind, C: Kind, R: Kind>(
    f: impl for<'a, 'b, 'c> Fn(A::Row<'a>, B::Row<'b>, C::Row<'c>) -> R::Owned + Send + Sync + 'static,
) -> Overload {
    let kernel: Kernel = Arc::new(move |columns, rows| {
        let (a, b, c) = (columns.reader::<A>(0)?, columns.reader::<B>(1)?, columns.reader::<C>(2)?);
        R::collect((0..rows).map(|row| f(a.row(row), b.row(row), c.row(row))))
    });
    Overload { args: vec![A::TYPE, B::TYPE, C::TYPE], returns: R::TYPE, kernel }
}

/// As [`unary`]; `f` is also given what `context` makes for each batch.
pub(crate) fn unary_with<C: 'static, A: Kind, R: Kind>(
    context: impl Fn() -> C + Send + Sync + 'static,
    f: impl for<'a> Fn(&C, A::Row<'a>) -> R::Owned + Send + Sync + 'static,
) -> Overload {
    let kernel: Kernel = Arc::new(move |columns, rows| {
        let (context, a) = (context(), columns.reader::<A>(0)?);
        R::collect((0..rows).map(|row| f(&context, a.row(row))))
    });
    Overload { args: vec![A::TYPE], returns: R::TYPE, kernel }
}

/// As [`binary`]; `f` is also given what `context` makes for each batch.
pub(crate) fn binary_with<C: 'static, A: Kind, B: Kind, R: Kind>(
    context: impl Fn() -> C + Send + Sync + 'static,
    f: impl for<'a, 'b> Fn(&C, A::Row<'a>, B::Row<'b>) -> R::Owned + Send + Sync + 'static,
) -> Overload {
    let kernel: Kernel = Arc::new(move |columns, rows| {
        let (context, a, b) = (context(), columns.reader::<A>(0)?, columns.reader::<B>(1)?);
        R::collect((0..rows).map(|row| f(&context, a.row(row), b.row(row))))
    });
    Overload { args: vec![A::TYPE, B::TYPE], returns: R::TYPE, kernel }
}

/// As [`ternary`]; `f` is also given what `context` makes for each batch.
pub(crate) fn ternary_with<X: 'static, A: Kind, B: Kind, C: Kind, R: Kind>(
    context: impl Fn() -> X + Send + Sync + 'static,
    f: impl for<'a, 'b, 'c> Fn(&X, A::Row<'a>, B::Row<'b>, C::Row<'c>) -> R::Owned + Send + Sync + 'static,
) -> Overload {
    let kernel: Kernel = Arc::new(move |columns, rows| {
        let (context, a, b, c) = (context(), columns.reader::<A>(0)?, columns.reader::<B>(1)?, columns.reader::<C>(2)?);
        R::collect((0..rows).map(|row| f(&context, a.row(row), b.row(row), c.row(row))))
    });
    Overload { args: vec![A::TYPE, B::TYPE, C::TYPE], returns: R::TYPE, kernel }
}

/// All overloads of one name as a DataFusion function, named `px_<name>` so that it meets none of DataFusion's own.
pub(crate) struct KernelUdf {
    name: String,
    signature: Signature,
    overloads: Vec<Overload>,
}

impl KernelUdf {
    /// What is `here` differs from place to place, so that it is never computed while a query is planned.
    pub(crate) fn new(name: &str, here: bool, overloads: Vec<Overload>) -> KernelUdf {
        let exact = |o: &Overload| match &o.args[..] {
            [] => TypeSignature::Nullary,
            args => TypeSignature::Exact(args.iter().map(|a| a.to_arrow()).collect()),
        };
        let signature =
            Signature::one_of(overloads.iter().map(exact).collect(), if here { Volatility::Volatile } else { Volatility::Immutable });
        KernelUdf { name: format!("px_{name}"), signature, overloads }
    }

    fn overload(&self, args: &[ArrowType]) -> Result<&Overload> {
        let fits = |o: &&Overload| o.args.iter().map(|a| a.to_arrow()).eq(args.iter().cloned());
        self.overloads.iter().find(fits).ok_or_else(|| {
            let types: Vec<String> = args.iter().map(ToString::to_string).collect();
            DataFusionError::Plan(format!("{} does not take ({})", self.name, types.join(", ")))
        })
    }
}

fn types<'a>(fields: impl Iterator<Item = &'a FieldRef>) -> Vec<ArrowType> {
    fields.map(|field| field.data_type().clone()).collect()
}

impl fmt::Debug for KernelUdf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KernelUdf").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Names are unique within a registry.
impl PartialEq for KernelUdf {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for KernelUdf {}

impl Hash for KernelUdf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for KernelUdf {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[ArrowType]) -> Result<ArrowType> {
        Ok(self.overload(args)?.returns.to_arrow())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let returns = self.overload(&types(args.arg_fields.iter()))?.returns;
        Ok(Arc::new(Field::new(self.name(), returns.to_arrow(), false)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let overload = self.overload(&types(args.arg_fields.iter()))?;
        let mut arrays = Vec::with_capacity(args.args.len());
        for value in args.args {
            arrays.push(match value {
                ColumnarValue::Array(array) => (array, false),
                ColumnarValue::Scalar(scalar) => (scalar.to_array()?, true),
            });
        }
        let constant = arrays.iter().all(|(_, once)| *once);
        let rows = if constant { 1 } else { args.number_rows };
        let result = (overload.kernel)(&Columns { arrays }, rows)?;
        if constant { Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?)) } else { Ok(ColumnarValue::Array(result)) }
    }
}
