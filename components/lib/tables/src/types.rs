use std::fmt;

use arrow_schema::{Field, Schema, TimeUnit};

/// Width of a UINT128 value in a column: big-endian, high half first.
pub const UINT128_BYTES: i32 = 16;

macro_rules! wire_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $number:literal => $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vmeta])* $variant = $number,)+ }

        impl $name {
            /// The number on the wire.
            pub fn number(self) -> i32 { self as i32 }

            /// From the number on the wire.
            pub fn from_number(number: i32) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)+ _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $text,)+ })
            }
        }
    };
}

wire_enum! {
    /// What a value is made of. Numbers: reference `typespb/types.proto`.
    DataType {
        /// Arrow `Boolean`.
        Boolean = 1 => "BOOLEAN",
        /// Arrow `Int64`.
        Int64 = 2 => "INT64",
        /// Arrow `FixedSizeBinary(16)`, big-endian.
        Uint128 = 3 => "UINT128",
        /// Arrow `Float64`.
        Float64 = 4 => "FLOAT64",
        /// Arrow `Utf8`; bytes that are not UTF-8 are replaced when a row is built.
        String = 5 => "STRING",
        /// Arrow `Timestamp(Nanosecond)` without zone: UTC.
        Time64Ns = 6 => "TIME64NS",
    }
}

wire_enum! {
    /// What a value means, and its unit. Numbers: reference `typespb/types.proto`.
    SemanticType {
        /// Never set by us; read from old peers.
        Unspecified = 0 => "ST_UNSPECIFIED",
        /// Nothing special.
        None = 1 => "ST_NONE",
        /// A time.
        TimeNs = 2 => "ST_TIME_NS",
        /// Id of an agent.
        AgentUid = 100 => "ST_AGENT_UID",
        /// Short number of an agent.
        Asid = 101 => "ST_ASID",
        /// A process.
        Upid = 200 => "ST_UPID",
        /// `namespace/name`, or a JSON array of them.
        ServiceName = 300 => "ST_SERVICE_NAME",
        /// `namespace/name`.
        PodName = 400 => "ST_POD_NAME",
        /// Phase of a pod.
        PodPhase = 401 => "ST_POD_PHASE",
        /// JSON.
        PodStatus = 402 => "ST_POD_STATUS",
        /// Name of a node.
        NodeName = 500 => "ST_NODE_NAME",
        /// Name of a container.
        ContainerName = 600 => "ST_CONTAINER_NAME",
        /// State of a container.
        ContainerState = 601 => "ST_CONTAINER_STATE",
        /// JSON.
        ContainerStatus = 602 => "ST_CONTAINER_STATUS",
        /// Name of a namespace.
        NamespaceName = 700 => "ST_NAMESPACE_NAME",
        /// Bytes.
        Bytes = 800 => "ST_BYTES",
        /// A fraction: 1.0 is 100 %.
        Percent = 900 => "ST_PERCENT",
        /// Nanoseconds.
        DurationNs = 901 => "ST_DURATION_NS",
        /// Per nanosecond.
        ThroughputPerNs = 902 => "ST_THROUGHPUT_PER_NS",
        /// Bytes per nanosecond.
        ThroughputBytesPerNs = 903 => "ST_THROUGHPUT_BYTES_PER_NS",
        /// JSON object of quantiles.
        Quantiles = 1000 => "ST_QUANTILES",
        /// JSON object of quantiles, in nanoseconds.
        DurationNsQuantiles = 1001 => "ST_DURATION_NS_QUANTILES",
        /// Text of an IP address.
        IpAddress = 1100 => "ST_IP_ADDRESS",
        /// A port.
        Port = 1200 => "ST_PORT",
        /// GET, POST, …
        HttpReqMethod = 1300 => "ST_HTTP_REQ_METHOD",
        /// 200, 404, …
        HttpRespStatus = 1400 => "ST_HTTP_RESP_STATUS",
        /// OK, Not Found, …
        HttpRespMessage = 1500 => "ST_HTTP_RESP_MESSAGE",
        /// JSON `{label, script, args}`.
        ScriptReference = 3000 => "ST_SCRIPT_REFERENCE",
    }
}

wire_enum! {
    /// How a column's values behave. Numbers: reference `typespb/types.proto`.
    PatternType {
        /// Not said.
        Unspecified = 0 => "UNSPECIFIED",
        /// Any value.
        General = 100 => "GENERAL",
        /// One of few.
        GeneralEnum = 101 => "GENERAL_ENUM",
        /// Text with a structure of its own.
        Structured = 200 => "STRUCTURED",
        /// Only grows.
        MetricCounter = 300 => "METRIC_COUNTER",
        /// Goes up and down.
        MetricGauge = 301 => "METRIC_GAUGE",
    }
}

impl DataType {
    /// How Arrow holds it.
    pub fn to_arrow(self) -> arrow_schema::DataType {
        match self {
            DataType::Boolean => arrow_schema::DataType::Boolean,
            DataType::Int64 => arrow_schema::DataType::Int64,
            DataType::Uint128 => arrow_schema::DataType::FixedSizeBinary(UINT128_BYTES),
            DataType::Float64 => arrow_schema::DataType::Float64,
            DataType::String => arrow_schema::DataType::Utf8,
            DataType::Time64Ns => arrow_schema::DataType::Timestamp(TimeUnit::Nanosecond, None),
        }
    }
}

/// One column of a table that agents fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// As scripts name it.
    pub name: &'static str,
    /// What its values are made of.
    pub data_type: DataType,
    /// What they mean.
    pub semantic_type: SemanticType,
    /// How they behave.
    pub pattern_type: PatternType,
    /// Meaning and unit, for people.
    pub text: &'static str,
}

/// One table that agents fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    /// As scripts name it.
    pub name: &'static str,
    /// What a row is.
    pub text: &'static str,
    /// In order. The first is `time_`.
    pub columns: &'static [Column],
}

impl Table {
    /// The Arrow schema of its batches. No column is nullable: PxL has no NULL.
    pub fn arrow_schema(&self) -> Schema {
        Schema::new(self.columns.iter().map(|c| Field::new(c.name, c.data_type.to_arrow(), false)).collect::<Vec<_>>())
    }

    /// Where a column stands.
    pub fn column_index(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.name == name)
    }
}
