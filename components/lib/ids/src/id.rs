use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// A text that is not a UUID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a UUID")]
pub struct ParseIdError {
    text: String,
}

macro_rules! typed_id {
    ($name:ident, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// From the 16 bytes of a UUID, in the order of its text.
            pub fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// The 16 bytes, in the order of the text.
            pub fn to_bytes(self) -> [u8; 16] {
                *self.0.as_bytes()
            }

            /// First and last eight bytes as big-endian numbers: the wire's `high_bits` and `low_bits`.
            pub fn to_halves(self) -> (u64, u64) {
                self.0.as_u64_pair()
            }

            /// The inverse of [`Self::to_halves`].
            pub fn from_halves(high: u64, low: u64) -> Self {
                Self(Uuid::from_u64_pair(high, low))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self).map_err(|_| ParseIdError { text: text.to_owned() })
            }
        }
    };
}

typed_id!(QueryId, "One run of one script, from compile to last row.");
typed_id!(AgentId, "One agent (PEM or Kelvin), from registration to expiry.");
typed_id!(ClusterId, "One Vizier. Kept for as long as its state directory or volume is.");
typed_id!(TableId, "One output table of one query: what row batches on the wire refer to.");
typed_id!(TracepointId, "One deployment of one tracepoint: another program under the same name has another.");
typed_id!(OrgId, "One organisation of a control plane: whom clusters and keys belong to.");
typed_id!(KeyId, "One API key or deploy key: its name, not its secret.");
typed_id!(ScriptId, "One script that runs again and again.");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_from_its_text_and_its_halves() {
        let id = QueryId::from_halves(0x1122_3344_5566_7788, 0x99aa_bbcc_ddee_ff00);
        assert_eq!(id.to_string(), "11223344-5566-7788-99aa-bbccddeeff00");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(QueryId::from_bytes(id.to_bytes()), id);
    }

    #[test]
    fn a_wrong_text_is_named() {
        let error = "not-an-id".parse::<AgentId>().unwrap_err();
        assert_eq!(error.to_string(), "`not-an-id` is not a UUID");
    }
}
