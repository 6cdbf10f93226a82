//! The rows of two tables compared, by their place or by a key.

use std::collections::HashMap;

use anyhow::Result;
use arrow::array::ArrayRef;
use arrow::row::{RowConverter, SortField};
use pipeline::UsageError;
use pipeline::inspect::Request;
use serde::Serialize;

use super::selection::named;
use super::source::{Piece, Pieces, Source};
use super::value::{self, CellValue, Length};
use crate::artifact::catch_panics;

/// Rows of the first file that can be matched by a key: each takes about 50 bytes of memory.
const MATCHED: usize = 10_000_000;
/// Differing rows that are named.
const EXAMPLES: usize = 5;

/// How the rows differ.
#[derive(Debug, Default, Serialize)]
pub(super) struct RowDifference {
    /// The columns that tell which rows belong together; empty where it is their place.
    pub key: Vec<String>,
    pub equal: u64,
    pub different: u64,
    pub only_in_one: u64,
    pub only_in_other: u64,
    /// Keys of the first file that come more than once.
    pub repeated_keys: u64,
    /// Columns whose values cannot be compared.
    pub columns_left_out: Vec<String>,
    /// The first rows that differ.
    pub examples: Vec<Example>,
}

/// A row of the second file that differs from its row of the first.
#[derive(Debug, Serialize)]
pub(super) struct Example {
    /// From 0.
    pub row: u64,
    pub key: Vec<CellValue>,
}

/// A table, and its columns that the other one has too, in the same order.
type Side<'a> = (&'a Source, &'a [usize]);

/// Compares the rows of two tables in the columns that both have.
///
/// # Errors
/// [`UsageError`] for a key that is no column of both; else when the rows cannot be read.
pub(super) fn compare(one: Side<'_>, other: Side<'_>, key: &[String], request: &Request) -> Result<RowDifference> {
    let mut found = RowDifference::default();
    let comparable = |place: &usize| {
        let kind = plain_type(one.0, one.1[*place]);
        RowConverter::supports_fields(&[SortField::new(kind)])
    };
    let (places, left): (Vec<usize>, Vec<usize>) = (0..one.1.len()).partition(comparable);
    found.columns_left_out = left.iter().map(|&place| one.0.schema().field(one.1[place]).name().clone()).collect();
    let of = |side: Side<'_>| places.iter().map(|&place| side.1[place]).collect::<Vec<_>>();
    let (columns, other_columns) = (of(one), of(other));
    let digests = Digests::new(one.0, &columns)?;
    if key.is_empty() {
        by_place((one.0, &columns), (other.0, &other_columns), &digests, request, &mut found)?;
        return Ok(found);
    }
    let keys = named(key, one.0.schema())?;
    let names: Vec<String> = keys.iter().map(|&column| one.0.schema().field(column).name().clone()).collect();
    let other_keys = named(&names, other.0.schema())?;
    for (&column, name) in keys.iter().zip(&names) {
        if !columns.contains(&column) {
            return Err(UsageError(format!(
                "the key `{}` has not the same type in both",
                pipeline::escape::shown(name, 80)
            ))
            .into());
        }
    }
    found.key = names;
    let key = KeyColumns { digests: Digests::new(one.0, &keys)?, one: keys, other: other_keys };
    by_key((one.0, &columns), (other.0, &other_columns), &digests, &key, request, &mut found)?;
    Ok(found)
}

fn by_place(
    one: Side<'_>,
    other: Side<'_>,
    digests: &Digests,
    request: &Request,
    found: &mut RowDifference,
) -> Result<()> {
    let mut ours = Stream::new(one, digests, request)?;
    let mut theirs = Stream::new(other, digests, request)?;
    let mut row = 0;
    loop {
        match (ours.next()?, theirs.next()?) {
            (None, None) => return Ok(()),
            (Some(_), None) => found.only_in_one += 1,
            (None, Some(_)) => found.only_in_other += 1,
            (Some(a), Some(b)) if a == b => found.equal += 1,
            (Some(_), Some(_)) => {
                found.different += 1;
                if found.examples.len() < EXAMPLES {
                    found.examples.push(Example { row, key: Vec::new() });
                }
            }
        }
        row += 1;
    }
}

struct KeyColumns {
    digests: Digests,
    one: Vec<usize>,
    other: Vec<usize>,
}

fn by_key(
    one: Side<'_>,
    other: Side<'_>,
    digests: &Digests,
    key: &KeyColumns,
    request: &Request,
    found: &mut RowDifference,
) -> Result<()> {
    if one.0.rows()? > MATCHED as u64 {
        return Err(UsageError(format!("it has more than {MATCHED} rows, too many to match by a key")).into());
    }
    let mut known: HashMap<u128, (u128, bool)> = HashMap::new();
    for piece in pieces(one, request)? {
        let piece = piece?;
        let rows = key.digests.of(&piece, &key.one)?.into_iter().zip(digests.of(&piece, one.1)?);
        for (key, row) in rows {
            found.repeated_keys += u64::from(known.insert(key, (row, false)).is_some());
        }
    }
    for piece in pieces(other, request)? {
        let piece = piece?;
        let rows = key.digests.of(&piece, &key.other)?.into_iter().zip(digests.of(&piece, other.1)?);
        for (place, (digest, row)) in rows.enumerate() {
            let Some((theirs, met)) = known.get_mut(&digest) else {
                found.only_in_other += 1;
                continue;
            };
            *met = true;
            if *theirs == row {
                found.equal += 1;
            } else {
                found.different += 1;
                if found.examples.len() < EXAMPLES {
                    let cell = |&column: &usize| CellValue::at(piece.column(column), place, Length::Short);
                    found
                        .examples
                        .push(Example { row: piece.number(place), key: key.other.iter().map(cell).collect() });
                }
            }
        }
    }
    found.only_in_one = known.values().filter(|(_, met)| !met).count() as u64;
    Ok(())
}

fn pieces(side: Side<'_>, request: &Request) -> Result<Pieces> {
    let mut columns = side.1.to_vec();
    columns.sort_unstable();
    side.0.read(&columns, None, &request.progress)
}

/// The rows of a table as digests, one by one.
struct Stream<'a> {
    pieces: Pieces,
    columns: &'a [usize],
    digests: &'a Digests,
    ready: std::vec::IntoIter<u128>,
}

impl<'a> Stream<'a> {
    fn new(side: Side<'a>, digests: &'a Digests, request: &Request) -> Result<Self> {
        Ok(Self { pieces: pieces(side, request)?, columns: side.1, digests, ready: Vec::new().into_iter() })
    }

    fn next(&mut self) -> Result<Option<u128>> {
        loop {
            if let Some(digest) = self.ready.next() {
                return Ok(Some(digest));
            }
            let Some(piece) = self.pieces.next() else { return Ok(None) };
            self.ready = self.digests.of(&piece?, self.columns)?.into_iter();
        }
    }
}

/// Turns rows into digests that are equal where the values are, in whatever encoding the file keeps them.
struct Digests(RowConverter);

impl Digests {
    fn new(source: &Source, columns: &[usize]) -> Result<Self> {
        let fields = columns.iter().map(|&column| SortField::new(plain_type(source, column))).collect();
        Ok(Self(RowConverter::new(fields)?))
    }

    fn of(&self, piece: &Piece, columns: &[usize]) -> Result<Vec<u128>> {
        let digests = || -> Result<Vec<u128>, arrow::error::ArrowError> {
            let arrays: Vec<ArrayRef> =
                columns.iter().map(|&column| value::plain(piece.column(column))).collect::<Result<_, _>>()?;
            let rows = self.0.convert_columns(&arrays)?;
            let digest = |row: arrow::row::Row<'_>| {
                let mut first = [0; 16];
                first.copy_from_slice(&blake3::hash(row.as_ref()).as_bytes()[..16]);
                u128::from_le_bytes(first)
            };
            Ok(rows.iter().map(digest).collect())
        };
        catch_panics(digests).map_err(|error| super::damaged("its rows cannot be compared", error))
    }
}

/// The type of a column with dictionary and run-length encoding undone.
fn plain_type(source: &Source, column: usize) -> arrow::datatypes::DataType {
    use arrow::datatypes::DataType;
    let mut kind = source.schema().field(column).data_type();
    loop {
        kind = match kind {
            DataType::Dictionary(_, values) => values,
            DataType::RunEndEncoded(_, values) => values.data_type(),
            plain => return plain.clone(),
        };
    }
}
