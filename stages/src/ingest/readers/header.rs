//! The first line of a table: a header with the names of the columns, or a row.

use std::path::Path;

use anyhow::{Error, Result, anyhow, bail, ensure};

use crate::artifact::TextFile;
use crate::ingest::readers::delimited::fields;
use crate::ingest::readers::plain_number::number;
use crate::ingest::readers::row_ends::check_ends;

/// The names of a table's columns, in their order.
pub(in crate::ingest) struct Header {
    /// The file, as messages name it.
    pub file: std::path::PathBuf,
    /// Unique, except empty names, which pandas writes for an index.
    pub names: Vec<String>,
    /// The line itself.
    pub line: String,
}

impl Header {
    /// The names in the first line.
    ///
    /// # Errors
    /// Where there is none, or a name is not unique.
    pub fn read(file: &TextFile, separator: &str, quotes: bool) -> Result<Self> {
        let line = file.first_line()?;
        let place = file.name().display();
        let names = fields(&line, separator, quotes)
            .map_err(|fault| anyhow!("{place}:1: {fault}\nhelp: name each column in one line"))?;
        ensure!(names != [""], "{place} has no header\nhelp: its first line names the columns");
        check_unique(file.name(), &names)?;
        Ok(Self { file: file.name().to_path_buf(), names, line })
    }

    /// The given names for a file without a header, else the names in its first line.
    pub fn given_or_read(file: &TextFile, names: Option<&[String]>, separator: &str, quotes: bool) -> Result<Self> {
        check_ends(file)?;
        match names {
            Some(names) => {
                Ok(Self { file: file.name().to_path_buf(), names: names.to_vec(), line: names.join(separator) })
            }
            None => Self::read(file, separator, quotes),
        }
    }

    /// The same names without the spaces around them.
    pub fn trimmed(mut self) -> Result<Self> {
        self.names.iter_mut().for_each(|name| *name = name.trim().to_owned());
        check_unique(&self.file, &self.names)?;
        Ok(self)
    }

    /// The position of a column.
    pub fn place(&self, name: &str) -> Result<usize> {
        let found = self.names.iter().position(|known| known == name);
        found.ok_or_else(|| no_column(&self.file, &self.names, name))
    }

    /// The position of the column with one of these names; the first that occurs counts. Case, spaces and underscores are ignored:
    /// copies of a dataset rename `userId` to `user_id`.
    ///
    /// # Errors
    /// Where several columns have one of them.
    pub fn any_of(&self, known: &[&str]) -> Result<Option<usize>> {
        for wanted in known {
            let mut found =
                (0..self.names.len()).filter(|&at| normalised_name(&self.names[at]) == normalised_name(wanted));
            let Some(at) = found.next() else { continue };
            if let Some(other) = found.next() {
                bail!(
                    "{}: both columns `{}` and `{}` match `{wanted}`\nhelp: remove one of them",
                    self.file.display(),
                    self.names[at],
                    self.names[other]
                );
            }
            return Ok(Some(at));
        }
        Ok(None)
    }

    /// As [`Self::any_of`], for a required column.
    pub fn one_of(&self, known: &[&str]) -> Result<usize> {
        self.any_of(known)?.ok_or_else(|| {
            anyhow!(
                "{} has no column {}; it has {}\nhelp: rename the column, or read the file with `ingest.table`",
                self.file.display(),
                known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or "),
                self.names.join(", ")
            )
        })
    }
}

/// The lower-case letters and digits of a name.
fn normalised_name(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Requires unique names.
///
/// # Errors
/// With the name and its positions.
pub(in crate::ingest) fn check_unique(file: &Path, names: &[String]) -> Result<()> {
    for (at, name) in names.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
        if let Some(first) = names[..at].iter().position(|known| known == name) {
            bail!(
                "{} has two columns `{name}`: its {} and its {}\nhelp: rename or remove one of them",
                file.display(),
                ordinal(first + 1),
                ordinal(at + 1)
            );
        }
    }
    Ok(())
}

fn ordinal(number: usize) -> String {
    let ending = match (number % 100, number % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

/// Whether a first line is a header: one of its fields is a known name, or none is a number.
pub(in crate::ingest) fn looks_like_header(fields: &[String], known: &[&str]) -> bool {
    let is_known = |field: &String| known.iter().any(|name| normalised_name(name) == normalised_name(field));
    fields.iter().any(is_known) || !fields.iter().any(|field| number(field.trim(), "").is_ok())
}

/// The error for a missing column, with the likely cause.
pub(in crate::ingest) fn no_column(path: &Path, names: &[String], name: &str) -> Error {
    let holds = |separator: char| names.iter().any(|known| known.contains(separator));
    let bare = |known: &String| known.trim_matches('"').to_owned();
    let help = if holds('\t') {
        "its separator seems to be a tab: name the file .tsv"
    } else if holds(';') {
        "its separator seems to be a semicolon: set `separator: \";\"`"
    } else if names.len() == 1 && holds(',') {
        "its separator seems to be a comma: name the file .csv"
    } else if names.iter().any(|known| known != name && bare(known) == name) {
        "its names are quoted, which is read by default only in .csv: set `quotes: always`"
    } else if !looks_like_header(names, &[name]) {
        "its first line seems to be a row, not a header: name the columns as `names: [user, item, …]`"
    } else {
        "name one of these columns in the experiment"
    };
    anyhow!("{} has no column `{name}`; it has {}\nhelp: {help}", path.display(), names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str, line: &str, separator: &str) -> Result<Header> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, line).unwrap();
        Header::read(&TextFile::new(&path), separator, separator == ",")
    }

    #[test]
    fn a_missing_column_hints_at_its_reason() {
        let help = |name: &str, line: &str, separator: &str| {
            header(name, line, separator).unwrap().place("stars").unwrap_err().to_string()
        };
        assert!(
            help("a.csv", "who;what;stars\n", ",")
                .contains("has no column `stars`; it has who;what;stars\nhelp: its separator seems to be a semicolon")
        );
        assert!(help("a.csv", "who\twhat\tstars\n", ",").contains("a tab: name the file .tsv"));
        assert!(help("a.tsv", "who,what,stars\n", "\t").contains("a comma: name the file .csv"));
        assert!(help("a.tsv", "\"who\"\t\"stars\"\n", "\t").contains("help: its names are quoted"));
        assert!(help("a.csv", "u1,12,5\n", ",").contains("help: its first line seems to be a row"));
        assert!(help("a.csv", "who,what\n", ",").contains("help: name one of these columns"));
    }

    #[test]
    fn a_name_comes_once_and_may_be_written_in_several_ways() {
        let twice = header("a.csv", "u,i,r,u\n", ",").err().unwrap().to_string();
        assert!(twice.contains("a.csv has two columns `u`: its 1st and its 4th\nhelp: rename or remove"), "{twice}");
        let header = header("a.csv", "\u{feff},,User ID,\"movie_id\"\r\n", ",").unwrap();
        assert_eq!(header.names, ["", "", "User ID", "movie_id"], "columns without a name match nothing");
        assert_eq!(header.any_of(&["uid", "userId"]).unwrap(), Some(2));
        assert_eq!(header.any_of(&["rating"]).unwrap(), None);
        assert!(header.one_of(&["rating"]).unwrap_err().to_string().contains("has no column `rating`; it has"));
        let both = Header { names: vec!["userId".into(), "user_id".into()], ..header };
        assert!(
            both.any_of(&["userId"]).unwrap_err().to_string().contains("both columns `userId` and `user_id` match")
        );
    }

    #[test]
    fn a_first_line_is_names_or_a_row() {
        let are = |line: &str| {
            looks_like_header(&line.split(',').map(str::to_owned).collect::<Vec<_>>(), &["userId", "movieId"])
        };
        for line in ["userId,movieId,rating", "rating,USER_ID,2", "who,what", ",userId"] {
            assert!(are(line), "{line}");
        }
        for line in ["1,31,2.5,1260759144", "1,31,good,x", "a,b, 3"] {
            assert!(!are(line), "{line}");
        }
    }
}
