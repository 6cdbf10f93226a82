//! Which columns and rows of a table are shown.

use anyhow::Result;
use arrow::datatypes::Schema;
use pipeline::UsageError;
use pipeline::inspect::Request;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::query::Query;
use super::source::{Source, Table};
use super::text_output::known;
use super::value::{CellValue, Length};

/// Rows that are shown where nobody says how many.
const ROWS: usize = 10;

/// What is shown of a table.
#[derive(Clone)]
pub(super) struct Selection {
    /// In the order in which they are shown.
    pub columns: Vec<usize>,
    /// The rows that pass the filter, where there is one.
    pub filter: Option<Query>,
    pub draw: Draw,
}

/// Which of the rows that pass the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Draw {
    All,
    First(usize),
    Last(usize),
    Random { count: usize, seed: u64 },
}

/// A row of the file and its values.
pub(super) type Row = (u64, Vec<CellValue>);

impl Selection {
    /// `all` where everything is shown unless the request says otherwise.
    ///
    /// # Errors
    /// [`UsageError`]: no such column, no such filter.
    pub fn new(request: &Request, source: &Source, all: bool) -> Result<Self> {
        let draw = match (request.sample, request.head, request.tail) {
            (Some(count), ..) => Draw::Random { count, seed: request.seed },
            (None, Some(count), _) => Draw::First(count),
            (None, None, Some(count)) => Draw::Last(count),
            (None, None, None) if all => Draw::All,
            (None, None, None) => Draw::First(ROWS),
        };
        let filter = request.filter.as_deref().map(|text| Query::rows(source.queried()?, Some(text))).transpose()?;
        Ok(Self { columns: named(&request.columns, source.schema())?, filter, draw })
    }

    /// The columns, ascending.
    pub fn ascending(&self) -> Vec<usize> {
        let mut columns = self.columns.clone();
        columns.sort_unstable();
        columns
    }

    /// Calls `show` with each row in the order of the file, until it has all or `show` fails. A random draw is kept in
    /// memory until the file is read; nothing else is.
    pub fn rows(
        &self,
        source: &Source,
        request: &Request,
        length: Length,
        mut show: impl FnMut(Row) -> Result<()>,
    ) -> Result<()> {
        let mut left = match self.draw {
            Draw::First(count) => count as u64,
            Draw::All | Draw::Last(_) | Draw::Random { .. } => u64::MAX,
        };
        if left == 0 {
            return Ok(());
        }
        let mut lot = match self.draw {
            Draw::Random { count, seed } => Some(Reservoir::new(count, seed)),
            Draw::All | Draw::First(_) | Draw::Last(_) => None,
        };
        let last = match (self.draw, &self.filter, &source.table) {
            (Draw::Last(count), Some(filter), _) => Some(filter.tail(count)),
            // What a query computes has no file whose rows it numbers.
            (Draw::Last(count), None, Table::Query(query)) if request.sql.is_some() => Some(query.tail(count)),
            (Draw::Last(count), None, _) => Some(Query::rows(source.queried()?, None)?.tail(count)),
            _ => None,
        };
        for piece in source.read(&self.ascending(), last.as_ref().or(self.filter.as_ref()), &request.progress)? {
            let piece = piece?;
            for row in 0..piece.rows() {
                let cells =
                    || self.columns.iter().map(|&column| CellValue::at(piece.column(column), row, length)).collect();
                match &mut lot {
                    Some(lot) => lot.offer(|| (piece.number(row), cells())),
                    None => show((piece.number(row), cells()))?,
                }
                left -= 1;
                if left == 0 {
                    return Ok(());
                }
            }
        }
        lot.into_iter().flat_map(Reservoir::drawn).try_for_each(show)
    }
}

/// Names or lists of names with commas between, as columns of the schema; all where there are none.
pub(super) fn named(names: &[String], schema: &Schema) -> Result<Vec<usize>> {
    if names.is_empty() {
        return Ok((0..schema.fields().len()).collect());
    }
    let place = |name: &str| schema.fields().iter().position(|field| field.name() == name);
    let mut columns = Vec::new();
    for list in names {
        // A name may hold a comma.
        let parts: Vec<&str> =
            if place(list).is_some() { vec![list] } else { list.split(',').map(str::trim).collect() };
        for name in parts {
            let all: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            let column = place(name).ok_or_else(|| {
                UsageError(format!("there is no column `{}`\nhelp: {}", pipeline::escape::shown(name, 80), known(&all)))
            })?;
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
    }
    Ok(columns)
}

/// A uniform draw from rows whose number is not known beforehand (algorithm R, Vitter 1985).
struct Reservoir {
    kept: Vec<Row>,
    count: usize,
    offered: u64,
    random: ChaCha8Rng,
}

impl Reservoir {
    fn new(count: usize, seed: u64) -> Self {
        Self { kept: Vec::new(), count, offered: 0, random: ChaCha8Rng::seed_from_u64(seed) }
    }

    fn offer(&mut self, row: impl FnOnce() -> Row) {
        self.offered += 1;
        if self.kept.len() < self.count {
            self.kept.push(row());
        } else if let Some(place) = self.kept.get_mut(self.random.random_range(0..self.offered) as usize) {
            *place = row();
        }
    }

    /// What was drawn, in the order of the file.
    fn drawn(mut self) -> Vec<Row> {
        self.kept.sort_unstable_by_key(|(number, _)| *number);
        self.kept
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field};

    use super::*;

    #[test]
    fn every_row_is_as_likely_and_the_draw_is_repeatable() {
        let draw = |seed| {
            let mut lot = Reservoir::new(5, seed);
            (0..50).for_each(|row| lot.offer(|| (row, Vec::new())));
            lot.drawn().into_iter().map(|(row, _)| row).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert!(draw(7).is_sorted());
        let mut times = [0_u32; 50];
        (0..2000).flat_map(draw).for_each(|row| times[row as usize] += 1);
        // 2000 draws of 5 from 50: 200 each, with a standard deviation of 13.
        assert!(times.iter().all(|&times| (130..270).contains(&times)), "{times:?}");
    }

    #[test]
    fn a_draw_of_more_than_there_is_is_all_there_is() {
        let mut lot = Reservoir::new(5, 0);
        (0..3).for_each(|row| lot.offer(|| (row, Vec::new())));
        assert_eq!(lot.drawn().len(), 3);
    }

    #[test]
    fn columns_are_named_one_by_one_or_in_lists() {
        let field = |name: &str| Field::new(name, DataType::Boolean, true);
        let schema = Schema::new(vec![field("a"), field("b"), field("c,d")]);
        let read = |names: &[&str]| named(&names.iter().map(ToString::to_string).collect::<Vec<_>>(), &schema);
        assert_eq!(read(&[]).unwrap(), [0, 1, 2]);
        assert_eq!(read(&["b, a"]).unwrap(), [1, 0]);
        assert_eq!(read(&["c,d", "a", "a"]).unwrap(), [2, 0]);
        let told = read(&["a,x"]).unwrap_err().to_string();
        assert_eq!(told, "there is no column `x`\nhelp: the columns are a, b, c,d");
    }
}
