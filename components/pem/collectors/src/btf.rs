//! The kernel's own description of its structures, read straight from the bytes of `/sys/kernel/btf/vmlinux`.
//!
//! Knows as much of the format as offsets of fields need. Reads nothing beyond the bytes it is given, whatever they say.

use std::ops::ControlFlow;

/// Why an offset cannot be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BtfError {
    /// The bytes are no BTF, or end early.
    #[error("not BTF, or cut off, at byte {offset}")]
    Malformed {
        /// Where.
        offset: usize,
    },
    /// This kernel has no such structure.
    #[error("the kernel has no structure `{structure}`")]
    UnknownStructure {
        /// Its name.
        structure: String,
    },
    /// Or the structure has no such field.
    #[error("the kernel's structure `{structure}` has no field `{field}`")]
    UnknownField {
        /// The structure's name.
        structure: String,
        /// The path of the field.
        field: String,
    },
}

/// BTF, indexed by type number.
#[derive(Debug)]
pub struct Btf<'a> {
    bytes: &'a [u8],
    strings: &'a [u8],
    /// Where in `bytes` each type begins; type 0 is `void`, which has no place.
    types: Vec<u32>,
}

/// Anonymous structures in structures; C programs rarely pass three.
const NESTING_MAX: u32 = 16;
/// `const`, `volatile`, `typedef` around one type.
const MODIFIERS_MAX: u32 = 32;

const MAGIC: u16 = 0xeb9f;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const TYPEDEF: u32 = 8;

#[derive(Clone, Copy)]
struct Type {
    name: u32,
    kind: u32,
    members: u32,
    has_bitfields: bool,
    /// Its size, or the number of the type it refers to.
    extent: u32,
    /// What follows it.
    tail: usize,
}

impl<'a> Btf<'a> {
    /// Indexes `bytes`.
    ///
    /// # Errors
    /// The bytes are no BTF of this machine's byte order, or end early.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BtfError> {
        let header = |at: usize| word(bytes, at);
        if half(bytes, 0)? != MAGIC {
            return Err(BtfError::Malformed { offset: 0 });
        }
        let base = header(4)? as usize;
        let section = |offset: u32, length: u32| -> Result<(usize, usize), BtfError> {
            let start = base.checked_add(offset as usize).ok_or(BtfError::Malformed { offset: 8 })?;
            let end = start.checked_add(length as usize).filter(|end| *end <= bytes.len()).ok_or(BtfError::Malformed { offset: start })?;
            Ok((start, end))
        };
        let (mut at, types_end) = section(header(8)?, header(12)?)?;
        let (strings_start, strings_end) = section(header(16)?, header(20)?)?;
        let mut btf = Btf { bytes: &bytes[..types_end], strings: &bytes[strings_start..strings_end], types: vec![0] };
        while at < types_end {
            let kind = btf.type_at(at)?;
            btf.types.push(at as u32);
            at = kind.tail + tail_bytes(kind.kind, kind.members as usize).ok_or(BtfError::Malformed { offset: at })?;
        }
        Ok(btf)
    }

    /// Whether there is a `typedef` of this name: the kernel has one, `btf_trace_<name>`, for each of its tracepoints.
    pub fn has_typedef(&self, name: &str) -> bool {
        self.types[1..]
            .iter()
            .filter_map(|at| self.type_at(*at as usize).ok())
            .any(|kind| kind.kind == TYPEDEF && self.name(kind.name) == Some(name.as_bytes()))
    }

    /// Bytes of a structure.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn size_of(&self, structure: &str) -> Result<u32, BtfError> {
        let first = self.structures(structure).next();
        first.map(|kind| kind.extent).ok_or_else(|| BtfError::UnknownStructure { structure: structure.to_owned() })
    }

    /// Offset in bytes of a field; `path` may go into fields, separated by dots, and need not name anonymous structures and unions.
    ///
    /// # Errors
    /// There is no such structure or field, or it is a bit field.
    pub fn offset_of(&self, structure: &str, path: &str) -> Result<u32, BtfError> {
        let mut known = false;
        for kind in self.structures(structure) {
            known = true;
            if let Some(offset) = self.walk(kind, path) {
                return Ok(offset);
            }
        }
        let structure = structure.to_owned();
        Err(if known { BtfError::UnknownField { structure, field: path.to_owned() } } else { BtfError::UnknownStructure { structure } })
    }

    fn structures<'s>(&'s self, name: &'s str) -> impl Iterator<Item = Type> + 's {
        let types = self.types[1..].iter().filter_map(|at| self.type_at(*at as usize).ok());
        types.filter(move |kind| matches!(kind.kind, STRUCT | UNION) && self.name(kind.name) == Some(name.as_bytes()))
    }

    fn walk(&self, mut kind: Type, path: &str) -> Option<u32> {
        let mut offset = 0u32;
        let mut steps = path.split('.').peekable();
        while let Some(step) = steps.next() {
            let (bits, number) = self.member(kind, step, NESTING_MAX)?;
            offset = offset.checked_add(bits / 8)?;
            if steps.peek().is_some() {
                kind = self.resolve(number)?;
            } else if bits % 8 != 0 {
                return None;
            }
        }
        Some(offset)
    }

    /// Offset in bits and type of a member, looked for in anonymous members too.
    fn member(&self, kind: Type, name: &str, nesting: u32) -> Option<(u32, u32)> {
        if !matches!(kind.kind, STRUCT | UNION) || nesting == 0 {
            return None;
        }
        let found = (0..kind.members as usize).try_for_each(|index| {
            let Some((member, number, bits)) = self.member_at(kind, index) else { return ControlFlow::Break(None) };
            if self.name(member) == Some(name.as_bytes()) {
                return ControlFlow::Break(Some((bits, number)));
            }
            if self.name(member) == Some(b"") {
                let inner = self.resolve(number).and_then(|inner| self.member(inner, name, nesting - 1));
                if let Some((inner_bits, number)) = inner {
                    return ControlFlow::Break(bits.checked_add(inner_bits).map(|bits| (bits, number)));
                }
            }
            ControlFlow::Continue(())
        });
        found.break_value().flatten()
    }

    /// Name, type and offset in bits.
    fn member_at(&self, kind: Type, index: usize) -> Option<(u32, u32, u32)> {
        let at = kind.tail + index * 12;
        let offset = word(self.bytes, at + 8).ok()?;
        let bits = if kind.has_bitfields { offset & 0x00ff_ffff } else { offset };
        Some((word(self.bytes, at).ok()?, word(self.bytes, at + 4).ok()?, bits))
    }

    /// The type behind modifiers and other names.
    fn resolve(&self, mut number: u32) -> Option<Type> {
        for _ in 0..MODIFIERS_MAX {
            let kind = self.type_at(*self.types.get(number as usize).filter(|at| **at != 0)? as usize).ok()?;
            match kind.kind {
                TYPEDEF | 9..=11 | 18 => number = kind.extent,
                _ => return Some(kind),
            }
        }
        None
    }

    fn type_at(&self, at: usize) -> Result<Type, BtfError> {
        let info = word(self.bytes, at + 4)?;
        Ok(Type {
            name: word(self.bytes, at)?,
            kind: info >> 24 & 0x1f,
            members: info & 0xffff,
            has_bitfields: info >> 31 == 1,
            extent: word(self.bytes, at + 8)?,
            tail: at + 12,
        })
    }

    fn name(&self, offset: u32) -> Option<&'a [u8]> {
        self.strings.get(offset as usize..)?.split(|byte| *byte == 0).next()
    }
}

/// Bytes that follow a type of this kind.
fn tail_bytes(kind: u32, members: usize) -> Option<usize> {
    Some(match kind {
        2 | 7..=12 | 16 | 18 => 0,
        1 | 14 | 17 => 4,
        3 => 12,
        STRUCT | UNION | 15 | 19 => members * 12,
        6 | 13 => members * 8,
        _ => return None,
    })
}

fn word(bytes: &[u8], at: usize) -> Result<u32, BtfError> {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>());
    found.map(|word| u32::from_le_bytes(*word)).ok_or(BtfError::Malformed { offset: at })
}

fn half(bytes: &[u8], at: usize) -> Result<u16, BtfError> {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk::<2>());
    found.map(|half| u16::from_le_bytes(*half)).ok_or(BtfError::Malformed { offset: at })
}
