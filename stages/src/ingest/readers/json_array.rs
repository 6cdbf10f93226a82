//! One array of records, `[{…}, {…}]`, converted to lines of records.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write as _};

use anyhow::{Context as _, Result, ensure};
use pipeline::Context;

use crate::artifact::TextFile;
use crate::ingest::readers::decompress::derived_folder;

/// The file itself where it does not begin with an array, else a copy in the stage's scratch folder with one element per line.
/// Messages give the number of an element, from 1, instead of a line number.
///
/// Elements are split, not parsed: an element that is not a record is an invalid row, as a line would be.
pub(in crate::ingest) fn as_lines(file: TextFile, cx: &Context) -> Result<TextFile> {
    let place = || format!("cannot read {}", file.name().display());
    let (mut from, _) = file.open()?;
    loop {
        let bytes = from.fill_buf().with_context(place)?;
        let blank = bytes.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        match bytes.get(blank) {
            Some(b'[') => break from.consume(blank + 1),
            None if blank > 0 => from.consume(blank),
            _ => return Ok(file),
        }
    }
    let folder = derived_folder(file.name(), "parted", cx);
    let whole = folder.join(file.path().file_name().unwrap_or_default());
    if !whole.exists() {
        cx.check_cancelled()?;
        std::fs::create_dir_all(&folder).with_context(place)?;
        let part = cx.scratch().join("parting");
        let mut to = BufWriter::new(File::create(&part).with_context(place)?);
        let elements = write_elements(from, &mut to, &file)?;
        to.flush()
            .and_then(|()| to.get_ref().sync_all())
            .and_then(|()| std::fs::rename(&part, &whole))
            .with_context(place)?;
        cx.note("form", format!("{} is one array of {elements} records", file.name().display()));
    }
    Ok(TextFile::copy(&whole, file.name()))
}

/// Writes the elements of an opened array, one per line, and returns their number.
fn write_elements(mut from: BufReader<File>, to: &mut BufWriter<File>, file: &TextFile) -> Result<u64> {
    let place = || format!("cannot read {}", file.name().display());
    // Within strings (of JSON, or of Python with single quotes) brackets and commas have no effect.
    let (mut depth, mut quote, mut escaped, mut elements, mut filled, mut is_closed) =
        (1_u32, 0_u8, false, 0, false, false);
    loop {
        let bytes = from.fill_buf().with_context(place)?;
        if bytes.is_empty() {
            break;
        }
        for &byte in bytes {
            if is_closed {
                ensure!(
                    byte.is_ascii_whitespace(),
                    "{} goes on behind its array\nhelp: write one array of records, or one record a line",
                    file.name().display()
                );
                continue;
            }
            let mut written = if matches!(byte, b'\n' | b'\r') { b' ' } else { byte };
            if quote != 0 {
                if escaped {
                    escaped = false;
                } else if byte == b'\\' {
                    escaped = true;
                } else if byte == quote {
                    quote = 0;
                }
            } else {
                match byte {
                    b'"' | b'\'' => quote = byte,
                    b'[' | b'{' | b'(' => depth += 1,
                    b']' | b'}' | b')' => depth -= 1,
                    b',' if depth == 1 => written = b'\n',
                    _ => {}
                }
                is_closed = depth == 0;
            }
            filled |= !byte.is_ascii_whitespace() && !is_closed;
            if written == b'\n' || is_closed && filled {
                elements += 1;
                written = b'\n';
                filled = false;
            }
            if !is_closed || written == b'\n' {
                to.write_all(&[written]).with_context(place)?;
            }
        }
        let read = bytes.len();
        from.consume(read);
    }
    ensure!(
        is_closed,
        "{} ends within its array, after {elements} complete records\nhelp: the file is truncated: get it again",
        file.name().display()
    );
    Ok(elements)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_becomes_lines_and_lines_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.json");
        let lines = |text: &str| {
            let scratch = tempfile::tempdir().unwrap();
            std::fs::write(&path, text).unwrap();
            let file = as_lines(TextFile::new(&path), &Context::detached(scratch.path()))?;
            assert_eq!(file.name(), path);
            file.text()
        };
        for text in ["", " \n", "{\"a\": [1, 2]}\n{}\n"] {
            assert_eq!(lines(text).unwrap(), text);
        }
        assert_eq!(lines("[]").unwrap(), "");
        assert_eq!(lines("\u{feff}\n [{\"a\":1},{\"a\":2}]\n").unwrap(), "{\"a\":1}\n{\"a\":2}\n");
        let deep =
            "[\n  {\n    \"a\": \"],\\\"[\",\n    \"b\": [1, {\"c\": 2}]\n  },\n  {'d': \"it's\", 'e': 'x\"],'}\n]";
        let flat: Vec<String> = lines(deep).unwrap().lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(flat, ["{\"a\":\"],\\\"[\",\"b\":[1,{\"c\":2}]}", "{'d':\"it's\",'e':'x\"],'}"]);
        let error = |text: &str| lines(text).unwrap_err().to_string();
        assert!(error("[{\"a\": 1}, {\"a\"").contains("ends within its array, after 1 complete records"));
        assert!(error("[{}] {}").contains("goes on behind its array"));
    }
}
