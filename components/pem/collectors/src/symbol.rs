//! Where in a file a function begins.

use std::{collections::BTreeSet, fs::File};

use object::{
    Endianness, ReadCache,
    elf::{self, FileHeader64, ProgramHeader64, Sym64},
    read::elf::{FileHeader as _, ProgramHeader as _, SectionHeader as _, Sym as _},
};

use crate::{error::Error, nearest::Nearest, target::Target};

/// Bytes of symbol tables and their names that are read of one file: some four million symbols.
const SYMBOL_BYTES_MAX: u64 = 512 << 20;

#[cfg(target_arch = "x86_64")]
const MACHINE: u16 = elf::EM_X86_64;
#[cfg(target_arch = "aarch64")]
const MACHINE: u16 = elf::EM_AARCH64;

/// Only programs of Go have them; stripped ones too.
const GO_SECTIONS: [&[u8]; 2] = [b".go.buildinfo", b".note.go.buildid"];

/// Where a function is.
#[derive(Debug)]
pub(crate) struct Places {
    /// Offsets in the file, ascending; at least one. Several functions that only their files see may have one name.
    pub(crate) offsets: Vec<u64>,
    /// The program is written in Go.
    pub(crate) is_go: bool,
}

type Header = FileHeader64<Endianness>;

/// A symbol table and the names of its symbols.
struct Table<'data> {
    symbols: &'data [Sym64<Endianness>],
    names: &'data [u8],
}

/// What is read of a file.
struct Elf<'data> {
    endian: Endianness,
    segments: &'data [ProgramHeader64<Endianness>],
    /// All symbols, where the file was not stripped of them, then the exported ones.
    tables: Vec<Table<'data>>,
    is_go: bool,
}

/// Finds a function by its name: among all symbols, or the exported ones where a program was stripped of the others.
pub(crate) fn find(target: &Target, symbol: &str) -> Result<Places, Error> {
    let cache = ReadCache::new(&target.file);
    let elf = read(target, &cache)?;
    for table in &elf.tables {
        let found: Vec<&Sym64<Endianness>> = elf.functions(table).filter(|(name, _)| *name == symbol).map(|(_, found)| found).collect();
        if !found.is_empty() {
            return elf.places(target, symbol, &found);
        }
    }
    let names = elf.tables.iter().flat_map(|table| elf.functions(table)).map(|(name, _)| name);
    Err(Error::NoSymbol { path: target.path.clone(), symbol: symbol.to_owned(), nearest: Nearest::of(symbol, names) })
}

fn read<'data>(target: &Target, cache: &'data ReadCache<&'data File>) -> Result<Elf<'data>, Error> {
    let not_elf = |source| Error::NotElf { path: target.path.clone(), source };
    if object::FileKind::parse(cache).map_err(not_elf)? == object::FileKind::Elf32 {
        return Err(Error::OtherMachine { path: target.path.clone() });
    }
    let header = Header::parse(cache).map_err(not_elf)?;
    let endian = header.endian().map_err(not_elf)?;
    if header.e_machine(endian) != MACHINE {
        return Err(Error::OtherMachine { path: target.path.clone() });
    }
    let sections = header.sections(endian, cache).map_err(not_elf)?;
    let is_go = sections.iter().any(|section| sections.section_name(endian, section).is_ok_and(|name| GO_SECTIONS.contains(&name)));
    let mut elf = Elf { endian, segments: header.program_headers(endian, cache).map_err(not_elf)?, tables: Vec::new(), is_go };
    let mut bytes = 0u64;
    for kind in [elf::SHT_SYMTAB, elf::SHT_DYNSYM] {
        for section in sections.iter().filter(|section| section.sh_type(endian) == kind) {
            let names = sections.section(section.link(endian)).map_err(not_elf)?;
            bytes = bytes.saturating_add(section.sh_size(endian)).saturating_add(names.sh_size(endian));
            if bytes > SYMBOL_BYTES_MAX {
                return Err(Error::TooManySymbols { path: target.path.clone(), bytes, limit: SYMBOL_BYTES_MAX });
            }
            elf.tables.push(Table {
                symbols: section.data_as_array(endian, cache).map_err(not_elf)?,
                names: names.data(endian, cache).map_err(not_elf)?,
            });
        }
    }
    Ok(elf)
}

impl<'data> Elf<'data> {
    /// The functions of a table that are in this file, with their names.
    fn functions(&self, table: &Table<'data>) -> impl Iterator<Item = (&'data str, &'data Sym64<Endianness>)> {
        let (endian, names) = (self.endian, table.names);
        table.symbols.iter().filter_map(move |symbol| {
            let is_function = matches!(symbol.st_type(), elf::STT_FUNC | elf::STT_GNU_IFUNC | elf::STT_NOTYPE);
            if !is_function || symbol.st_shndx(endian) == elf::SHN_UNDEF || symbol.st_value(endian) == 0 {
                return None;
            }
            let name = names.get(symbol.st_name(endian) as usize..)?;
            let name = std::str::from_utf8(&name[..name.iter().position(|byte| *byte == 0)?]).ok()?;
            (!name.is_empty()).then_some((name, symbol))
        })
    }

    /// Where the symbols of one name are. One that other files see stands before those that only its own does.
    fn places(&self, target: &Target, symbol: &str, found: &[&Sym64<Endianness>]) -> Result<Places, Error> {
        let has_global = found.iter().any(|known| known.st_bind() != elf::STB_LOCAL);
        let mut offsets = BTreeSet::new();
        for known in found.iter().filter(|known| !has_global || known.st_bind() != elf::STB_LOCAL) {
            if known.st_type() == elf::STT_GNU_IFUNC {
                return Err(Error::Indirect { path: target.path.clone(), symbol: symbol.to_owned() });
            }
            let offset = self.offset(known.st_value(self.endian));
            offsets.insert(offset.ok_or_else(|| Error::NotCode { path: target.path.clone(), symbol: symbol.to_owned() })?);
        }
        Ok(Places { offsets: offsets.into_iter().collect(), is_go: self.is_go })
    }

    /// Where in the file an address is, if it is loaded from there and executed. The kernel wants that, wherever the program is loaded.
    fn offset(&self, address: u64) -> Option<u64> {
        let endian = self.endian;
        let segment = self.segments.iter().find(|segment| {
            let start = segment.p_vaddr(endian);
            segment.p_type(endian) == elf::PT_LOAD
                && segment.p_flags(endian) & elf::PF_X != 0
                && (start..start.saturating_add(segment.p_filesz(endian))).contains(&address)
        })?;
        (address - segment.p_vaddr(endian)).checked_add(segment.p_offset(endian))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::Binary;

    fn own() -> Target {
        Target::open(&Binary::Executable { pid: std::process::id() }).unwrap()
    }

    #[unsafe(no_mangle)]
    #[allow(unsafe_code, reason = "a symbol with a name of its own")]
    extern "C" fn px_symbol_of_the_test(value: u64) -> u64 {
        std::hint::black_box(value)
    }

    #[test]
    fn a_function_is_found_where_its_code_is() {
        px_symbol_of_the_test(1);
        let places = find(&own(), "px_symbol_of_the_test").unwrap();
        assert_eq!((places.offsets.len(), places.is_go), (1, false));
        // What is loaded at its address is what the file has there.
        let mut bytes = [0; 4];
        std::os::unix::fs::FileExt::read_exact_at(&own().file, &mut bytes, places.offsets[0]).unwrap();
        let address = px_symbol_of_the_test as *const [u8; 4];
        #[allow(unsafe_code, reason = "code can be read")]
        // SAFETY: a function of some bytes.
        let loaded = unsafe { address.read_unaligned() };
        assert_eq!(bytes, loaded);
    }

    #[test]
    fn a_name_that_is_none_has_nearest_ones() {
        let error = find(&own(), "px_symbol_of_a_test").unwrap_err().to_string();
        assert!(error.contains("has no function `px_symbol_of_a_test`; nearest: `px_symbol_of_the_test`"), "{error}");
    }

    #[test]
    fn what_is_no_program_of_this_machine_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let check = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            let error = find(&Target::open(&Binary::File(path)).unwrap(), "main").unwrap_err();
            error.to_string().replace(&*folder.path().to_string_lossy(), "")
        };
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(check("/empty", b""), "/empty is not an ELF file that can be read");
        assert_eq!(check("/script", b"#!/bin/sh\nexec true\n"), "/script is not an ELF file that can be read");
        assert_eq!(check("/cut", &own[..64]), "/cut is not an ELF file that can be read");
        let mut other = own[..4096].to_vec();
        other[18] = 0x15; // e_machine: 64-bit PowerPC
        assert_eq!(check("/ppc", &other), "/ppc is a program of another architecture than the agent's");
        other[4] = 1; // EI_CLASS: 32 bits
        assert_eq!(check("/short", &other), "/short is a program of another architecture than the agent's");
    }

    #[test]
    fn functions_that_are_chosen_at_load_are_refused() {
        let libc = Target::open(&Binary::SharedObject { pid: std::process::id(), name: "libc".to_owned() }).unwrap();
        assert!(matches!(find(&libc, "getppid"), Ok(Places { is_go: false, .. })));
        assert!(matches!(find(&libc, "memcpy"), Err(Error::Indirect { .. })));
        assert!(matches!(find(&libc, "errno"), Err(Error::NoSymbol { .. })));
        assert!(libc.path.starts_with(Path::new("/")));
    }
}
