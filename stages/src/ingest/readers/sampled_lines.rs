//! Lines of a text from all over it: what decides on the form of a column before a log is read.
//!
//! A small file is taken whole, of a larger one evenly spaced blocks, so that a file that is sorted shows more than its beginning. The
//! choice depends on the file alone.

use std::io::{BufRead as _, Read as _, Seek as _, SeekFrom};

use anyhow::{Context as _, Result};

use crate::artifact::TextFile;

/// Up to so many bytes a file is taken whole.
const WHOLE: u64 = 1 << 20;
/// Blocks of a larger file, and the bytes of each.
const BLOCKS: u64 = 64;
const BLOCK: u64 = 16 << 10;

/// The lines, in the order of the file and without their ends; bytes that are not UTF-8 are replaced. The first is the first of the file.
pub(in crate::ingest) fn sampled_lines(file: &TextFile) -> Result<Vec<String>> {
    sampled(file, WHOLE, BLOCKS, BLOCK)
}

fn sampled(file: &TextFile, whole: u64, blocks: u64, block: u64) -> Result<Vec<String>> {
    let place = || format!("cannot read {}", file.name().display());
    let (mut from, begin) = file.open()?;
    let length = from.get_ref().metadata().with_context(place)?.len();
    let mut lines = Vec::new();
    let mut push = |line: &[u8]| {
        lines.push(String::from_utf8_lossy(line).trim_end_matches(['\n', '\r']).to_owned());
    };
    if length <= whole {
        let mut text = Vec::new();
        from.read_to_end(&mut text).with_context(place)?;
        text.split_inclusive(|byte| *byte == b'\n').for_each(push);
        return Ok(lines);
    }
    for number in 0..blocks {
        let start = begin + (length - begin - block) / (blocks - 1).max(1) * number;
        from.seek(SeekFrom::Start(start)).with_context(place)?;
        let mut text = Vec::new();
        from.by_ref().take(block).read_to_end(&mut text).with_context(place)?;
        // The last line of a block is completed, the first of all blocks but one was begun before it.
        from.by_ref().take(block).read_until(b'\n', &mut text).with_context(place)?;
        text.split_inclusive(|byte| *byte == b'\n').skip(usize::from(number > 0)).for_each(&mut push);
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_and_from_everywhere() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let text: String = (0..1000).map(|line| format!("line {line:03}\n")).collect();
        std::fs::write(&path, format!("\u{feff}{text}\r\n")).unwrap();
        let file = TextFile::new(&path);
        let all = sampled(&file, 1 << 20, 4, 40).unwrap();
        assert_eq!((all.len(), &*all[0], &*all[1000]), (1001, "line 000", ""));
        let some = sampled(&file, 100, 4, 40).unwrap();
        assert!(some.len() < 24 && some[0] == "line 000", "{some:?}");
        assert!(some.iter().all(|line| line.is_empty() || all.contains(line)), "{some:?}");
        let middle = some.iter().filter(|line| ("line 200".."line 800").contains(&line.as_str())).count();
        assert!(middle > 5, "{some:?}");
        assert_eq!(some[some.len() - 2..], ["line 999", ""], "the last block ends with the file: {some:?}");
    }
}
