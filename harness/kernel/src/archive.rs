//! The cpio format that the kernel unpacks its first file system from ("newc": Documentation/driver-api/early-userspace/buffer-format.rst).

use std::fmt::Write as _;

const DIRECTORY: u32 = 0o040_755;
const FILE: u32 = 0o100_755;
const END: &str = "TRAILER!!!";
/// Headers with names, and contents, begin at multiples of this.
const ALIGN_BYTES: usize = 4;

/// An archive under construction.
#[derive(Debug, Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// Adds an empty folder; its parents come first.
    pub(crate) fn directory(&mut self, path: &str) {
        self.entry(path, DIRECTORY, &[]);
    }

    /// Adds a file that may be executed.
    pub(crate) fn file(&mut self, path: &str, content: &[u8]) {
        self.entry(path, FILE, content);
    }

    /// The archive, with its end.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.entry(END, 0, &[]);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let path = path.trim_start_matches('/');
        let (links, name_bytes) = (1, path.len() + 1);
        let mut header = "070701".to_owned();
        // inode, mode, owner, group, links, time, size, device (2), special device (2), length of the name with its end, checksum
        let size = u32::try_from(content.len()).unwrap_or(u32::MAX);
        for field in [self.entries, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name_bytes as u32, 0] {
            // Writing to a string cannot fail.
            let _ = write!(header, "{field:08x}");
        }
        self.bytes.extend(header.as_bytes());
        self.bytes.extend(path.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend(content);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGN_BYTES), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_has_its_entries_one_after_the_other_and_an_end() {
        let mut archive = Archive::default();
        archive.directory("/bin");
        archive.file("/bin/x", b"hello");
        let bytes = archive.finish();
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert_eq!(bytes.len() % ALIGN_BYTES, 0);
        assert_eq!(text.matches("070701").count(), 3);
        assert!(text.contains("bin\0") && text.contains("bin/x\0") && text.contains("hello\0\0\0"));
        assert!(text.trim_end_matches('\0').ends_with(END));
        // Size of the second entry, 54 bytes into its header.
        let second = text.rfind("bin/x").unwrap() - 110;
        assert_eq!(&text[second + 54..second + 62], "00000005");
    }
}
