//! A file read line by line, in bounded memory.

use std::io::{self, BufRead, Read as _};

use anyhow::Result;

/// Calls `on_line` for each line that is not blank. A longer line than `longest` is left out; the result says so. Invalid UTF-8 is
/// replaced.
///
/// # Errors
/// The outer error is that of `on_line`, the inner one that of the reader.
pub(super) fn each_line(
    reader: &mut dyn BufRead,
    longest: usize,
    on_line: &mut dyn FnMut(&str) -> Result<()>,
) -> Result<io::Result<Option<String>>, super::super::retry::RetryClass> {
    let (mut skipped, mut line) = (0, Vec::new());
    loop {
        line.clear();
        match (&mut *reader).take(longest as u64 + 1).read_until(b'\n', &mut line) {
            Err(error) => return Ok(Err(error)),
            Ok(0) => break,
            Ok(_) => {}
        }
        if line.len() > longest && !line.ends_with(b"\n") {
            skipped += 1;
            if let Err(error) = reader.skip_until(b'\n') {
                return Ok(Err(error));
            }
            continue;
        }
        let text = String::from_utf8_lossy(&line);
        if !text.trim().is_empty() {
            on_line(text.trim()).map_err(super::super::retry::RetryClass::Permanent)?;
        }
    }
    Ok(Ok((skipped > 0).then(|| format!("{skipped} lines have more than {longest} bytes"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_left_out_and_a_last_line_needs_no_end() {
        let mut seen = Vec::new();
        let text = [b"{\"a\":1}\r\n\n".as_slice(), &[b'x'; 100], b"\n\xff\xfe\nlast"].concat();
        let mut read = |text: &[u8]| {
            let Ok(read) = each_line(&mut &*text, 10, &mut |line| {
                seen.push(line.to_owned());
                Ok(())
            }) else {
                panic!("no line fails")
            };
            read.unwrap()
        };
        assert_eq!(read(&text).as_deref(), Some("1 lines have more than 10 bytes"));
        assert_eq!(read(b""), None);
        assert_eq!(seen, ["{\"a\":1}", "\u{fffd}\u{fffd}", "last"]);
        let failing = each_line(&mut &b"a\n"[..], 10, &mut |_| anyhow::bail!("no"));
        assert!(failing.is_err());
    }
}
