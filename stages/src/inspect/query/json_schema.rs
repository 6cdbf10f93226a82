//! The columns of JSON records, one a line, by all of them: polars alone leaves out a column that its first records have not, and cuts
//! what does not fit their types.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, ensure};
use polars::io::ndjson::infer_schema;
use polars::prelude::{DataType, Field, PolarsError, Schema, SchemaExt as _};
use rayon::prelude::*;

use super::super::escape;
use crate::artifact::catch_panics;

/// Bytes of the lines that one thread looks at.
const PART: usize = 8 << 20;

/// Some whole lines, and which is the first, from 1.
struct Lines {
    text: Vec<u8>,
    first: u64,
}

/// The columns of all records in the files.
///
/// # Errors
/// Where a file cannot be read, a line is no object, or the values of a column have no type in common: with file, line and column.
pub(super) fn schema(files: &[PathBuf]) -> Result<Schema> {
    let mut all = Schema::default();
    for path in files {
        let shown = || escape::shown(&path.display().to_string(), usize::MAX);
        let place = if files.len() == 1 { String::new() } else { format!("{}: ", shown()) };
        of_file(path, &mut all, &place).with_context(|| format!("cannot read {}", shown()))??;
    }
    ensure!(
        !all.is_empty(),
        "has no rows and no columns\nhelp: a table in JSON has an object with a value for each column in each line"
    );
    Ok(all)
}

/// Adds the columns of a file. The outer error is that of reading.
fn of_file(path: &Path, all: &mut Schema, place: &str) -> std::io::Result<Result<()>> {
    let mut file = File::open(path)?;
    let (mut rest, mut first) = (Vec::new(), 1);
    loop {
        let mut parts = Vec::new();
        let mut is_end = false;
        while !is_end && parts.len() < rayon::current_num_threads() {
            let (text, left, end) = lines(&mut file, rest)?;
            (rest, is_end) = (left, end);
            let count = text.iter().filter(|&&byte| byte == b'\n').count() as u64;
            parts.push(Lines { text, first });
            first += count;
        }
        let found: Vec<_> = parts.par_iter().map(Lines::schema).collect();
        for (found, lines) in found.into_iter().zip(&parts) {
            let is_added = found.is_some_and(|found| merge(all, &found).is_ok());
            // Once more line by line, which tells the place of what is wrong.
            if let (false, Err(error)) = (is_added, lines.add_each(all, place)) {
                return Ok(Err(error));
            }
        }
        if is_end {
            return Ok(Ok(()));
        }
    }
}

/// The next whole lines behind `rest`, what follows them, and whether nothing does.
fn lines(file: &mut File, rest: Vec<u8>) -> std::io::Result<(Vec<u8>, Vec<u8>, bool)> {
    let mut text = rest;
    loop {
        let known = text.len();
        file.by_ref().take(PART as u64).read_to_end(&mut text)?;
        if text.len() == known {
            return Ok((text, Vec::new(), true));
        }
        if let Some(end) = text.iter().rposition(|&byte| byte == b'\n') {
            let rest = text.split_off(end + 1);
            return Ok((text, rest, false));
        }
    }
}

impl Lines {
    /// The columns of these lines; `None` where something is wrong.
    fn schema(&self) -> Option<Schema> {
        let mut all = Schema::default();
        if self.text.trim_ascii().is_empty() {
            return Some(all);
        }
        match inferred(&self.text) {
            Ok(found) => Some(found),
            // A number that is too long goes with no other, but becomes a text line by line.
            Err(_) => self.add_each(&mut all, "").ok().map(|()| all),
        }
    }

    /// Adds the columns of each line.
    fn add_each(&self, all: &mut Schema, place: &str) -> Result<()> {
        for (line, text) in (self.first..).zip(self.text.split(|&byte| byte == b'\n')) {
            if text.trim_ascii().is_empty() {
                continue;
            }
            let found = inferred(text).map_err(|error| {
                let error = pipeline::escape::shown(error.lines().next().unwrap_or_default(), 200);
                anyhow!("{place}line {line} is no JSON object ({error})\nhelp: a table in JSON has one object a line")
            })?;
            merge(all, &found).map_err(|unlike| {
                anyhow!("{place}line {line}: {unlike}\nhelp: write all values of a column in one type")
            })?;
        }
        Ok(())
    }
}

fn inferred(mut text: &[u8]) -> Result<Schema, String> {
    let found = catch_panics(|| infer_schema(&mut text, None))?;
    Ok(found.iter().map(|(name, kind)| Field::new(name.clone(), readable(kind))).collect())
}

/// Integers beyond 64 bits, for which polars has no type here, are texts.
fn readable(kind: &DataType) -> DataType {
    match kind {
        DataType::Int128 | DataType::UInt128 => DataType::String,
        DataType::List(element) => DataType::List(readable(element).into()),
        DataType::Struct(fields) => DataType::Struct(
            fields.iter().map(|field| Field::new(field.name.clone(), readable(&field.dtype))).collect(),
        ),
        kind => kind.clone(),
    }
}

/// Adds columns, or widens those that are there; an error names a column whose values have no type in common.
fn merge(all: &mut Schema, found: &Schema) -> Result<(), String> {
    for (name, other) in found.iter() {
        let Some(one) = all.get(name) else {
            all.with_column(name.clone(), other.clone());
            continue;
        };
        if one != other {
            let unlike = |_| format!("`{}` is {other}, before it is {one}", pipeline::escape::shown(name, 80));
            let kind = common(one, other).map_err(unlike)?;
            all.with_column(name.clone(), kind);
        }
    }
    Ok(())
}

/// The type that holds the values of both.
fn common(one: &DataType, other: &DataType) -> Result<DataType, PolarsError> {
    use DataType as T;
    // polars takes a number for a record of one field here, and refuses it where it reads.
    if let (T::Struct(_), kind) | (kind, T::Struct(_)) = (one, other)
        && !matches!(kind, T::Struct(_) | T::String | T::Null)
    {
        return Err(PolarsError::SchemaMismatch("a record and a value".into()));
    }
    let of = |kind: &DataType| Schema::from_iter([Field::new("x".into(), kind.clone())]);
    let mut both = of(one);
    both.to_supertype(&of(other))?;
    Ok(both.get("x").expect("its one column stays").clone())
}
