//! A table of numbers in a text file: one row per line, numbers separated by blanks.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::{Array, TextFile};

/// Reads a matrix `[R, C]`; blank lines are no rows.
///
/// # Errors
/// When the file cannot be read, is empty, or a value is no finite number: with line, column, value.
pub fn read_matrix(path: &Path) -> Result<Array> {
    let text = TextFile::new(path).text()?;
    let place = path.display();
    let (mut rows, mut columns, mut data) = (0, 0, Vec::new());
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let before = data.len();
        for (column, value) in line.split_ascii_whitespace().enumerate() {
            let read = value.parse::<f32>().ok().filter(|value| value.is_finite());
            let read = read.with_context(|| {
                format!("{place}:{}: column {}: found {value:?}, wanted a finite number", number + 1, column + 1)
            })?;
            data.push(read);
        }
        let found = data.len() - before;
        if rows == 0 {
            columns = found;
        }
        ensure!(
            found == columns,
            "{place}:{}: found {found} numbers, wanted {columns} as in the first row",
            number + 1
        );
        rows += 1;
    }
    ensure!(rows > 0, "{place} holds no number");
    Ok(Array::new(&[rows, columns], data))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_matrix_is_read_and_what_is_none_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m");
        let read = |text: &str| {
            fs::write(&path, text).unwrap();
            read_matrix(&path).map_err(|error| error.to_string())
        };
        for mark in ["", "\u{feff}"] {
            let text = format!("{mark}1 2.5 0\n\n 3 4 5\n");
            assert_eq!(read(&text).unwrap(), Array::new(&[2, 3], vec![1.0, 2.5, 0.0, 3.0, 4.0, 5.0]));
        }
        assert!(read("1 2\n3 x\n").unwrap_err().contains("m:2: column 2: found \"x\", wanted a finite number"));
        assert!(read("1 2\n\n3\n").unwrap_err().contains("m:3: found 1 numbers, wanted 2 as in the first row"));
        assert!(read("1 inf\n").unwrap_err().contains("found \"inf\""));
        assert!(read("\n").unwrap_err().contains("holds no number"));
    }
}
