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
/// Members looked at for one step of a path, those of anonymous members included. The kernel's largest structures have some hundreds; bytes
/// that let a structure contain itself twice have no end otherwise.
const MEMBERS_MAX: u32 = 1 << 16;
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

#[derive(Clone, Copy)]
struct Member {
    name: u32,
    /// Of its type.
    number: u32,
    /// Its offset.
    bits: u32,
    is_bit_field: bool,
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
            let next = tail_bytes(kind.kind, kind.members as usize).map(|tail| kind.tail + tail);
            at = next.filter(|next| *next <= types_end).ok_or(BtfError::Malformed { offset: at })?;
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
            let (bits, number) = self.member(kind, step, NESTING_MAX, &mut { MEMBERS_MAX })?;
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
    fn member(&self, kind: Type, name: &str, nesting: u32, members_left: &mut u32) -> Option<(u32, u32)> {
        if !matches!(kind.kind, STRUCT | UNION) || nesting == 0 || name.is_empty() {
            return None;
        }
        let found = (0..kind.members as usize).try_for_each(|index| {
            let Some(left) = members_left.checked_sub(1) else { return ControlFlow::Break(None) };
            *members_left = left;
            let Some(member) = self.member_at(kind, index) else { return ControlFlow::Break(None) };
            let bits = member.bits;
            if self.name(member.name) == Some(name.as_bytes()) {
                return ControlFlow::Break((!member.is_bit_field).then_some((bits, member.number)));
            }
            if self.name(member.name) == Some(b"") {
                let inner = self.resolve(member.number).and_then(|inner| self.member(inner, name, nesting - 1, members_left));
                if let Some((inner_bits, number)) = inner {
                    return ControlFlow::Break(bits.checked_add(inner_bits).map(|bits| (bits, number)));
                }
            }
            ControlFlow::Continue(())
        });
        found.break_value().flatten()
    }

    fn member_at(&self, kind: Type, index: usize) -> Option<Member> {
        let at = kind.tail + index * 12;
        let offset = word(self.bytes, at + 8).ok()?;
        // The upper byte is the length of a bit field, 0 if it is none.
        let (bits, is_bit_field) = if kind.has_bitfields { (offset & 0x00ff_ffff, offset >> 24 != 0) } else { (offset, false) };
        Some(Member { name: word(self.bytes, at).ok()?, number: word(self.bytes, at + 4).ok()?, bits, is_bit_field })
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

/// Asks of any bytes all that can be asked: what the laws and the fuzz target run. The names are those of the seeds.
pub fn survive(bytes: &[u8]) {
    let Ok(btf) = Btf::parse(bytes) else { return };
    for structure in ["outer", "inner", "flags", "", "none"] {
        let _ = (btf.size_of(structure), btf.has_typedef(structure));
        for path in ["plain", "deep", "named.plain", "named.deep.plain", "bits", "narrow", "", ".", "none"] {
            let _ = btf.offset_of(structure, path);
        }
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

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;

    const INT: u32 = 1;
    const CONST: u32 = 10;
    const WITH_BIT_FIELDS: u32 = 1 << 7;

    /// BTF under construction. Types are numbered from 1.
    #[derive(Default)]
    struct Builder {
        types: Vec<u8>,
        strings: Vec<u8>,
    }

    impl Builder {
        fn words(&mut self, words: &[u32]) {
            self.types.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        }

        fn name(&mut self, name: &str) -> u32 {
            if self.strings.is_empty() {
                self.strings.push(0);
            }
            if name.is_empty() {
                return 0;
            }
            let at = self.strings.len() as u32;
            self.strings.extend(name.bytes().chain([0]));
            at
        }

        /// A type without members; `extent` is its size, or the type it refers to.
        fn plain(mut self, kind: u32, name: &str, extent: u32) -> Self {
            let name = self.name(name);
            self.words(&[name, kind << 24, extent]);
            if kind == INT {
                self.words(&[extent * 8]);
            }
            self
        }

        /// Members: name, type, offset in bits.
        fn structure(mut self, kind: u32, name: &str, size: u32, members: &[(&str, u32, u32)]) -> Self {
            let name = self.name(name);
            self.words(&[name, kind << 24 | members.len() as u32, size]);
            for (name, number, bits) in members {
                let name = self.name(name);
                self.words(&[name, *number, *bits]);
            }
            self
        }

        fn build(self) -> Vec<u8> {
            let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
            let header = [0x0001_eb9f, 24, 0, types, types, strings].into_iter().flat_map(u32::to_le_bytes);
            header.chain(self.types).chain(self.strings).collect()
        }
    }

    /// `struct outer { int plain; union { struct { int shallow, deep; }; int other; }; const inner_t named; }`, an offset that is no byte's, and
    /// `struct flags { int whole; int narrow : 8; }`.
    fn sample() -> Vec<u8> {
        Builder::default()
            .plain(INT, "int", 4)
            .structure(STRUCT, "inner", 8, &[("plain", 1, 0), ("deep", 1, 32)])
            .plain(TYPEDEF, "inner_t", 2)
            .plain(CONST, "", 3)
            .structure(STRUCT, "", 8, &[("shallow", 1, 0), ("deep", 1, 32)])
            .structure(UNION, "", 8, &[("", 5, 0), ("other", 1, 0)])
            .structure(STRUCT, "outer", 24, &[("plain", 1, 0), ("", 6, 32), ("named", 4, 96), ("bits", 1, 161)])
            .structure(STRUCT | WITH_BIT_FIELDS, "flags", 8, &[("whole", 1, 0), ("narrow", 1, 8 << 24 | 32)])
            .build()
    }

    fn ask(bytes: &[u8], questions: &[(&str, &str)]) -> String {
        let btf = match Btf::parse(bytes) {
            Ok(btf) => btf,
            Err(error) => return error.to_string(),
        };
        questions.iter().fold(String::new(), |mut text, (structure, path)| {
            let _ = match btf.offset_of(structure, path) {
                Ok(offset) => writeln!(text, "{structure} {path}: {offset}"),
                Err(error) => writeln!(text, "{structure} {path}: {error}"),
            };
            text
        })
    }

    #[test]
    fn fields_are_found_through_names_and_through_what_has_none() {
        let questions = ["plain", "shallow", "deep", "other", "named", "named.deep", "deep.plain", "bits", "none", "named.", ""];
        insta::assert_snapshot!(ask(&sample(), &questions.map(|path| ("outer", path))), @r"
        outer plain: 0
        outer shallow: 4
        outer deep: 8
        outer other: 4
        outer named: 12
        outer named.deep: 16
        outer deep.plain: the kernel's structure `outer` has no field `deep.plain`
        outer bits: the kernel's structure `outer` has no field `bits`
        outer none: the kernel's structure `outer` has no field `none`
        outer named.: the kernel's structure `outer` has no field `named.`
        outer : the kernel's structure `outer` has no field ``
        ");
        insta::assert_snapshot!(ask(&sample(), &[("flags", "whole"), ("flags", "narrow"), ("inner_t", "plain"), ("none", "plain")]), @r"
        flags whole: 0
        flags narrow: the kernel's structure `flags` has no field `narrow`
        inner_t plain: the kernel has no structure `inner_t`
        none plain: the kernel has no structure `none`
        ");
        let bytes = sample();
        let btf = Btf::parse(&bytes).unwrap();
        assert_eq!((btf.size_of("outer"), btf.has_typedef("inner_t"), btf.has_typedef("inner")), (Ok(24), true, false));
    }

    #[test]
    fn what_is_no_btf_is_refused_with_the_place() {
        let with = |at: usize, word: u32| {
            let mut bytes = sample();
            bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
            bytes
        };
        let cases = [
            ("nothing", Vec::new()),
            ("another magic", with(0, 0x0001_eb9e)),
            ("the other byte order", with(0, 0x9feb_0100)),
            ("a header that is cut off", sample()[..20].to_vec()),
            ("strings that are cut off", sample()[..sample().len() - 1].to_vec()),
            ("types that begin behind the end", with(8, 1 << 20)),
            ("types that begin behind all ends", with(8, u32::MAX)),
            ("types that end behind the end", with(12, u32::MAX)),
            ("strings that begin behind the end", with(16, u32::MAX)),
            ("a header as long as it can be", with(4, u32::MAX)),
            ("a kind that is none", with(28, 0)),
            ("a kind that nobody knows", with(28, 31 << 24)),
            ("types that end in a type", with(12, 20)),
            ("more members than bytes", with(24 + 16 + 4, STRUCT << 24 | 0xffff)),
        ];
        let text = cases.iter().fold(String::new(), |text, (name, bytes)| text + name + ": " + &ask(bytes, &[]) + "\n");
        insta::assert_snapshot!(text, @r"
        nothing: not BTF, or cut off, at byte 0
        another magic: not BTF, or cut off, at byte 0
        the other byte order: not BTF, or cut off, at byte 0
        a header that is cut off: not BTF, or cut off, at byte 24
        strings that are cut off: not BTF, or cut off, at byte 268
        types that begin behind the end: not BTF, or cut off, at byte 1048600
        types that begin behind all ends: not BTF, or cut off, at byte 4294967319
        types that end behind the end: not BTF, or cut off, at byte 24
        strings that begin behind the end: not BTF, or cut off, at byte 4294967319
        a header as long as it can be: not BTF, or cut off, at byte 4294967295
        a kind that is none: not BTF, or cut off, at byte 24
        a kind that nobody knows: not BTF, or cut off, at byte 24
        types that end in a type: not BTF, or cut off, at byte 44
        more members than bytes: not BTF, or cut off, at byte 40
        ");
    }

    #[test]
    fn types_that_lead_nowhere_or_in_circles_have_no_fields() {
        let outer =
            |number: u32| Builder::default().structure(STRUCT, "outer", 8, &[("named", number, 0), ("", number, 0), ("plain", 9, 32)]);
        let questions = [("outer", "named.plain"), ("outer", "deep"), ("outer", "plain"), ("outer", "plain.plain")];
        let cases = [
            ("a type behind the last one", outer(77).build()),
            ("void", outer(0).build()),
            ("a typedef of itself", outer(2).plain(TYPEDEF, "deep", 2).build()),
            ("two typedefs of each other", outer(2).plain(TYPEDEF, "a", 3).plain(TYPEDEF, "b", 2).build()),
            ("a structure in itself", outer(1).build()),
        ];
        let text = cases.iter().fold(String::new(), |text, (name, bytes)| text + name + "\n" + &ask(bytes, &questions));
        insta::assert_snapshot!(text, @r"
        a type behind the last one
        outer named.plain: the kernel's structure `outer` has no field `named.plain`
        outer deep: the kernel's structure `outer` has no field `deep`
        outer plain: 4
        outer plain.plain: the kernel's structure `outer` has no field `plain.plain`
        void
        outer named.plain: the kernel's structure `outer` has no field `named.plain`
        outer deep: the kernel's structure `outer` has no field `deep`
        outer plain: 4
        outer plain.plain: the kernel's structure `outer` has no field `plain.plain`
        a typedef of itself
        outer named.plain: the kernel's structure `outer` has no field `named.plain`
        outer deep: the kernel's structure `outer` has no field `deep`
        outer plain: 4
        outer plain.plain: the kernel's structure `outer` has no field `plain.plain`
        two typedefs of each other
        outer named.plain: the kernel's structure `outer` has no field `named.plain`
        outer deep: the kernel's structure `outer` has no field `deep`
        outer plain: 4
        outer plain.plain: the kernel's structure `outer` has no field `plain.plain`
        a structure in itself
        outer named.plain: 4
        outer deep: the kernel's structure `outer` has no field `deep`
        outer plain: 4
        outer plain.plain: the kernel's structure `outer` has no field `plain.plain`
        ");
    }

    /// Without a limit on members this would be looked at for longer than the universe has lasted.
    #[test]
    fn a_structure_that_contains_itself_many_times_comes_to_an_end() {
        let bytes = Builder::default().structure(STRUCT, "outer", 8, &vec![("", 1, 0); 1000]).build();
        insta::assert_snapshot!(ask(&bytes, &[("outer", "plain")]), @"outer plain: the kernel's structure `outer` has no field `plain`");
    }

    #[test]
    fn offsets_that_do_not_fit_are_no_offsets() {
        let bytes = Builder::default()
            .structure(STRUCT, "outer", 8, &[("", 2, u32::MAX), ("named", 2, u32::MAX - 7)])
            .structure(STRUCT, "", 8, &[("deep", 1, u32::MAX), ("named", 1, u32::MAX - 7)])
            .build();
        let deep = format!("named{}", ".named".repeat(9));
        insta::assert_snapshot!(ask(&bytes, &[("outer", "deep"), ("outer", "named"), ("outer", &deep)]), @r"
        outer deep: the kernel's structure `outer` has no field `deep`
        outer named: the kernel's structure `outer` has no field `named`
        outer named.named.named.named.named.named.named.named.named.named: the kernel's structure `outer` has no field `named.named.named.named.named.named.named.named.named.named`
        ");
    }

    #[test]
    fn names_that_lie_behind_the_strings_or_have_no_end_are_survived() {
        let mut bytes = sample();
        bytes[24..28].copy_from_slice(&u32::MAX.to_le_bytes());
        *bytes.last_mut().unwrap() = b'x';
        insta::assert_snapshot!(ask(&bytes, &[("outer", "plain"), ("outer", "bitsx")]), @r"
        outer plain: 0
        outer bitsx: the kernel's structure `outer` has no field `bitsx`
        ");
    }

    #[test]
    fn every_input_of_the_fuzz_corpus_is_survived() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../fuzz/corpus/btf");
        let seed = folder.join("sample");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&seed, sample()).unwrap();
        }
        assert_eq!(std::fs::read(&seed).ok(), Some(sample()), "UPDATE_GOLDEN=1 writes it");
        for entry in std::fs::read_dir(&folder).unwrap() {
            survive(&std::fs::read(entry.unwrap().path()).unwrap());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
            survive(&bytes);
        }

        #[test]
        fn btf_that_is_changed_and_cut_is_survived(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
            end in any::<prop::sample::Index>(),
        ) {
            let mut bytes = sample();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            survive(&bytes);
            bytes.truncate(end.index(bytes.len()));
            survive(&bytes);
        }
    }
}
