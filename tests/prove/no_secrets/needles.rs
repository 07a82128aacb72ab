//! Looks for many texts at once: in files, and in a dump of the database.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use data_encoding::HEXLOWER;

use super::{Kind, Secret};

/// How many bytes of a text are looked up before it is compared.
const HEAD: usize = 8;
/// What stands before bytes in a dump: `COPY` doubles the backslash of `\x`.
const HEX: &[u8] = b"\\\\x";

/// What is looked for.
pub(super) struct Needles {
    texts: Vec<(Kind, Vec<u8>)>,
    by_head: HashMap<[u8; HEAD], Vec<usize>>,
}

impl Needles {
    pub(super) fn of(texts: &[Secret]) -> Self {
        let texts: Vec<(Kind, Vec<u8>)> = texts.iter().map(|(kind, text)| (*kind, text.as_bytes().to_vec())).collect();
        let mut by_head: HashMap<[u8; HEAD], Vec<usize>> = HashMap::new();
        for (number, (_, text)) in texts.iter().enumerate() {
            if let Some(head) = text.first_chunk() {
                by_head.entry(*head).or_default().push(number);
            }
        }
        Self { texts, by_head }
    }

    /// What kind of secret the number stands for.
    pub(super) fn kind(&self, number: usize) -> Kind {
        self.texts.get(number).map_or(Kind::Id, |(kind, _)| *kind)
    }

    pub(super) fn find(&self, bytes: &[u8], mut each: impl FnMut(usize)) {
        for (at, window) in bytes.windows(HEAD).enumerate() {
            // Texts are of letters and digits: most bytes of a file are not.
            let Some(head) = window.first_chunk().filter(|head: &&[u8; HEAD]| head.iter().all(u8::is_ascii_alphanumeric)) else { continue };
            let rest = bytes.get(at..).unwrap_or_default();
            for number in self.by_head.get(head).into_iter().flatten() {
                if self.texts.get(*number).is_some_and(|(_, text)| rest.starts_with(text)) {
                    each(*number);
                }
            }
        }
    }
}

/// What a walk has seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) hits: Vec<(PathBuf, usize)>,
}

/// Looks through all files below a folder.
pub(super) fn walk(root: &Path, folder: &Path, needles: &Needles, seen: &mut Seen) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        // A file may be gone before it is read: the servers are running.
        let Ok(kind) = std::fs::symlink_metadata(&path) else { continue };
        if kind.is_dir() {
            walk(root, &path, needles, seen)?;
        } else if kind.is_file() {
            let Ok(bytes) = std::fs::read(&path) else { continue };
            seen.files += 1;
            seen.bytes += bytes.len() as u64;
            let place = path.strip_prefix(root).unwrap_or(&path).to_path_buf();
            needles.find(&bytes, |needle| seen.hits.push((place.clone(), needle)));
        }
    }
    Ok(())
}

/// The numbers of those that a dump in plain form holds, also in columns of bytes, which it writes as hexadecimal digits.
pub(super) fn dumped(dump: &[u8], needles: &Needles) -> HashSet<usize> {
    let mut found = HashSet::new();
    needles.find(dump, |needle| found.extend([needle]));
    let mut rest = dump;
    while let Some(at) = rest.windows(HEX.len()).position(|window| window == HEX) {
        rest = rest.get(at + HEX.len()..).unwrap_or_default();
        let digits = rest.iter().take_while(|byte| byte.is_ascii_hexdigit()).count() & !1;
        if let Ok(bytes) = HEXLOWER.decode(rest.get(..digits).unwrap_or_default()) {
            needles.find(&bytes, |needle| found.extend([needle]));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_is_read_as_text_and_as_bytes() {
        let needles = Needles::of(&["InPlainText1", "InBytesOnly2", "NowhereAtAll3"].map(|text| (Kind::Key, text.to_owned())));
        let dump = format!("COPY t (a, b) FROM stdin;\nx InPlainText1\t\\\\x00{}ff\n\\.\n", HEXLOWER.encode(b"InBytesOnly2"));

        let mut found: Vec<_> = dumped(dump.as_bytes(), &needles).into_iter().collect();
        found.sort_unstable();
        assert_eq!(found, [0, 1]);
    }
}
