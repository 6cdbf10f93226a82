//! Tables as polars sees them: what `--sql`, `--filter` and `--tail` ask, of a file or many, in plans that read only what they
//! need: the columns that are named, the row groups that can hold a row that is wanted.

mod dialect;
mod fault;
mod integers;
mod json_schema;
mod meaning;
#[cfg(test)]
mod meaning_tests;
mod parts;
mod running;
mod scan;
mod separated;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod text_tests;

use std::sync::Arc;

use anyhow::Result;
use arrow::array::RecordBatch;
use arrow::compute::can_cast_types;
use arrow::datatypes::{FieldRef, Schema as ArrowSchema, SchemaRef};
use pipeline::UsageError;
use polars::prelude::{DataType, Expr, IdxSize, LazyFrame, Schema, len};
use polars::sql::SQLContext;

use crate::artifact::damaged;
use dialect::{TABLE, is_pattern};
use fault::Written;
use parts::Parts;
pub(super) use running::Running;
use running::{Failure, asked, batches, damage, unread};
pub(super) use scan::Scan;

/// The column that holds the row of the file; no file has it.
const NUMBER: &str = "\u{1}row";

/// Rows that are computed when they are read.
#[derive(Clone)]
pub(super) struct Query {
    plan: LazyFrame,
    schema: SchemaRef,
    /// Whether the rows are those of a file, with their numbers in [`NUMBER`].
    numbered: bool,
    parts: Parts,
}

impl Query {
    /// All rows of a table.
    ///
    /// # Errors
    /// When its frame cannot be read.
    pub fn all(scan: &Scan) -> Result<Self> {
        let mut all = Self::new(table(scan, false)?, false, scan)?;
        // polars has one type for several of arrow's, and moments are in UTC there.
        let own = all.parts.own_schema();
        let as_in_file = |field: &FieldRef| {
            let own = own.fields().iter().find(|own| own.name() == field.name());
            own.filter(|own| can_cast_types(field.data_type(), own.data_type())).unwrap_or(field).clone()
        };
        all.schema = Arc::new(ArrowSchema::new(all.schema.fields().iter().map(as_in_file).collect::<Vec<_>>()));
        Ok(all)
    }

    /// The answer to a `select … from self`.
    ///
    /// # Errors
    /// [`UsageError`] where it cannot be understood, or names a column that is not there; else when the files cannot be read.
    pub fn sql(scan: &Scan, text: &str) -> Result<Self> {
        Self::new(understood("query", text, table(scan, false)?, dialect::statement)?, false, scan)
    }

    /// The rows of a table, with their numbers; where `condition` is given those for which it is true.
    ///
    /// # Errors
    /// As [`Self::sql`].
    pub fn rows(scan: &Scan, condition: Option<&str>) -> Result<Self> {
        let all = table(scan, true)?;
        let chosen = match condition {
            Some(condition) => understood("filter", condition, all, dialect::condition)?,
            None => all,
        };
        Self::new(chosen, true, scan)
    }

    /// The last rows.
    pub fn tail(&self, count: usize) -> Self {
        let count = IdxSize::try_from(count).unwrap_or(IdxSize::MAX);
        Self { plan: self.plan.clone().tail(count), ..self.clone() }
    }

    fn new(plan: LazyFrame, numbered: bool, scan: &Scan) -> Result<Self> {
        let parts = scan.parts();
        // Nothing is read: a plan without rows.
        let (schema, _) = asked(|| plan.clone().limit(0).collect())
            .and_then(|frame| batches(frame).map_err(Failure::Read))
            .map_err(|failure| parts.explain(unread(failure)))?;
        Ok(Self { plan, schema, numbered, parts })
    }

    /// The columns, without the number.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Counts the rows.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn count(&self) -> Result<u64> {
        let counted = asked(|| self.plan.clone().select([len()]).collect());
        let counted = counted.map_err(|failure| self.parts.explain(unread(failure)))?;
        let count = counted.columns()[0].get(0).ok().and_then(|count| count.extract::<u64>());
        count.ok_or_else(|| damaged("its rows cannot be counted", "no number came out"))
    }

    /// Whether each row comes with its number.
    pub fn is_numbered(&self) -> bool {
        self.numbered
    }

    /// Begins to compute some columns, by name; before them the number of each row where there are numbers.
    pub fn start(&self, names: &[&str]) -> Running {
        let number = self.numbered.then_some(NUMBER);
        let column = |name: &str| Expr::Column(name.into());
        let columns: Vec<_> = number.into_iter().chain(names.iter().copied()).map(column).collect();
        Running::start(self.plan.clone().select(columns), self.parts.clone())
    }
}

impl Running {
    /// The next rows, and their numbers where there are numbers.
    ///
    /// # Errors
    /// [`UsageError`] where a value cannot be computed; else when the files cannot be read.
    pub fn batch(&mut self, seen: u64) -> Option<Result<RecordBatch>> {
        let failed = |failure| match failure {
            Failure::Asked(error) => unread(Failure::Asked(error)),
            Failure::Read(text) => damage(&format!("cannot read on after row {seen}"), &text),
        };
        Some(self.next()?.map_err(|failure| self.parts.explain(failed(failure))))
    }
}

/// The table of a scan, where it is asked for with the numbers of its rows. Moments with a zone are in UTC, as they are shown and
/// compared, and dictionaries are the texts in them.
fn table(scan: &Scan, numbered: bool) -> Result<LazyFrame> {
    use polars::prelude::TimeZone;
    let plan = scan.plan()?;
    let planned = asked(|| {
        // Next to the scan: there it is no obstacle to what is asked of the scan.
        let mut plan = if numbered { plan.with_row_index(NUMBER, None) } else { plan };
        let schema = plan.collect_schema()?;
        let plain = schema.iter().filter_map(|(name, kind)| {
            let plain = match kind {
                DataType::Datetime(unit, Some(zone)) if *zone != TimeZone::UTC => {
                    DataType::Datetime(*unit, Some(TimeZone::UTC))
                }
                DataType::Categorical(..) | DataType::Enum(..) => DataType::String,
                _ => return None,
            };
            Some(Expr::Column(name.clone()).cast(plain))
        });
        let plain: Vec<_> = plain.collect();
        Ok(if plain.is_empty() { plan } else { plan.with_columns(plain) })
    });
    planned.map_err(|failure| scan.parts().explain(unread(failure)))
}

/// Reads a text as a query over `plan`, and checks that it can be computed.
fn understood(
    noun: &str,
    text: &str,
    mut plan: LazyFrame,
    read: fn(&Written<'_>) -> Result<String, fault::Fault>,
) -> Result<LazyFrame> {
    let schema = asked(|| plan.collect_schema()).map_err(unread)?;
    if let Some(name) = schema.iter_names().find(|name| is_pattern(name)) {
        let name = pipeline::escape::shown(name, 80);
        let help = "write the file with another name for it; without `--sql` and `--filter` it is shown as it is";
        return Err(
            UsageError(format!("its column `{name}` is called as a pattern of columns is\nhelp: {help}")).into()
        );
    }
    let columns: Schema =
        schema.iter().filter(|(name, _)| *name != NUMBER).map(|(n, kind)| (n.clone(), kind.clone())).collect();
    let written = Written { noun, text, schema: &columns };
    let query = read(&written).map_err(|fault| written.error(&fault))?;
    let answer = asked(|| {
        let mut context = SQLContext::new();
        context.register(TABLE, plan);
        let answer = LazyFrame::from(meaning::plan(context.execute(&query)?.logical_plan)?);
        // Only the optimiser compares the types.
        answer.clone().to_alp_optimized()?;
        Ok(answer)
    });
    answer.map_err(|failure| match failure {
        Failure::Asked(error) => written.error(&written.refused(&error)),
        read => unread(read),
    })
}
