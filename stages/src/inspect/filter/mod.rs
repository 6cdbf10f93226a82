//! The rows that a person asks for: `rating >= 4 and (title is not null or genres contains 'Drama')`.
//!
//! A closed little language: columns are compared with constants and nothing is computed, so that no filter can run long or
//! fail half-way. What is wrong is told with its place before the first row is read. A comparison with a missing value is
//! neither true nor false, as in SQL.

mod lexer;
mod parser;
mod predicate;

use anyhow::Result;
use arrow::array::{ArrayRef, BooleanArray};
use arrow::compute::{and_kleene, not, or_kleene};
use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use pipeline::UsageError;

use parser::Expression;

/// A filter that fits a schema.
pub(super) struct Filter {
    expression: Expression,
    /// The columns that it reads, ascending.
    pub columns: Vec<usize>,
}

/// What is wrong with a filter, and where: characters of its text.
pub(super) struct Fault {
    pub from: usize,
    pub to: usize,
    pub message: String,
    pub help: Option<String>,
}

impl Filter {
    /// Reads a filter for a table of this schema.
    ///
    /// # Errors
    /// [`UsageError`], with a caret under the place.
    pub fn read(text: &str, schema: &Schema) -> Result<Self> {
        let read = lexer::read(text).and_then(|words| parser::read(&words, schema));
        let expression = read.map_err(|fault| UsageError(error_message(text, &fault)))?;
        let mut columns = Vec::new();
        expression.columns(&mut columns);
        columns.sort_unstable();
        columns.dedup();
        Ok(Self { expression, columns })
    }

    /// Whether each row is wanted, given the arrays of the columns.
    ///
    /// # Errors
    /// When an array cannot be read as what its type says.
    pub fn wanted(&self, array: &dyn Fn(usize) -> ArrayRef) -> Result<BooleanArray, ArrowError> {
        evaluate(&self.expression, array)
    }
}

fn evaluate(expression: &Expression, array: &dyn Fn(usize) -> ArrayRef) -> Result<BooleanArray, ArrowError> {
    let joined = |parts: &[Expression], join: fn(&BooleanArray, &BooleanArray) -> Result<BooleanArray, ArrowError>| {
        let (first, rest) = parts.split_first().expect("the grammar joins at least two");
        rest.iter().try_fold(evaluate(first, array)?, |all, part| join(&all, &evaluate(part, array)?))
    };
    match expression {
        Expression::And(parts) => joined(parts, and_kleene),
        Expression::Or(parts) => joined(parts, or_kleene),
        Expression::Not(inner) => not(&evaluate(inner, array)?),
        Expression::Predicate(column, test) => test.of(&array(*column)),
    }
}

fn error_message(text: &str, fault: &Fault) -> String {
    // One column a character, so that the caret stands where it should.
    let line: String = text.chars().map(|c| if pipeline::escape::is_unsafe(c) { ' ' } else { c }).collect();
    let caret = " ".repeat(fault.from) + &"^".repeat(fault.to.saturating_sub(fault.from).max(1));
    let help = fault.help.as_ref().map_or_else(String::new, |help| format!("\nhelp: {help}"));
    format!("invalid filter: {}\n  {line}\n  {caret}{help}", fault.message)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::*;
    use arrow::datatypes::{DataType, Field, Int32Type};

    use super::*;

    fn films() -> RecordBatch {
        let genres = ListBuilder::new(StringBuilder::new());
        let mut genres = genres.with_field(Field::new_list_field(DataType::Utf8, true));
        for list in [vec!["Drama", "Crime"], vec![], vec!["Comedy"]] {
            list.into_iter().for_each(|genre| genres.values().append_value(genre));
            genres.append(true);
        }
        let kinds: DictionaryArray<Int32Type> = [Some("film"), None, Some("series")].into_iter().collect();
        RecordBatch::try_from_iter_with_nullable([
            ("user", Arc::new(UInt32Array::from(vec![1, 2, 3])) as ArrayRef, false),
            ("rating", Arc::new(Float32Array::from(vec![Some(0.1), None, Some(f32::NAN)])), true),
            ("title", Arc::new(StringArray::from(vec![Some("Heat"), Some("it's"), None])), true),
            ("seen", Arc::new(BooleanArray::from(vec![true, false, true])), false),
            ("day", Arc::new(Date32Array::from(vec![0, 1, 365])), false),
            ("genres", Arc::new(genres.finish()), true),
            ("a column", Arc::new(Int64Array::from(vec![i64::MIN, 0, i64::MAX])), false),
            ("kind", Arc::new(kinds), true),
            (
                "price",
                Arc::new(Decimal128Array::from(vec![150, 250, 350]).with_precision_and_scale(5, 2).unwrap()),
                false,
            ),
            (
                "at",
                Arc::new(TimestampMillisecondArray::from(vec![0, 500, 7_200_000]).with_timezone("Europe/Berlin")),
                false,
            ),
            ("plain", Arc::new(TimestampSecondArray::from(vec![0, 1, 7200])), false),
        ])
        .unwrap()
    }

    fn rows(text: &str) -> Vec<usize> {
        let batch = films();
        let filter = Filter::read(text, &batch.schema()).unwrap_or_else(|error| panic!("{text}: {error}"));
        let wanted = filter.wanted(&|column| Arc::clone(batch.column(column))).unwrap();
        (0..wanted.len()).filter(|&row| wanted.is_valid(row) && wanted.value(row)).collect()
    }

    #[test]
    fn every_kind_of_column_is_compared() {
        let cases: [(&str, &[usize]); 36] = [
            ("user = 2", &[1]),
            ("user >= 1.5", &[1, 2]),
            ("user != 2", &[0, 2]),
            ("user <> 2", &[0, 2]),
            ("user > -1", &[0, 1, 2]),
            ("user in (1, 3, 99)", &[0, 2]),
            ("user not in (1)", &[1, 2]),
            ("rating = 0.1", &[0]),
            ("rating < 1", &[0]),
            ("rating != 1", &[0, 2]),
            ("title = 'Heat'", &[0]),
            ("title = 'it''s'", &[1]),
            ("title contains 'ea'", &[0]),
            ("not title contains 'ea'", &[1]),
            ("title < 'a'", &[0]),
            ("title is null", &[2]),
            ("title IS NOT NULL and seen = true", &[0]),
            ("seen = false", &[1]),
            ("day > '1970-01-01'", &[1, 2]),
            ("day = '1971-01-01'", &[2]),
            ("genres contains 'Drama'", &[0]),
            ("genres contains 'Drama' or genres contains 'Comedy'", &[0, 2]),
            ("\"a column\" = 9223372036854775807", &[2]),
            ("\"a column\" = -9223372036854775808", &[0]),
            ("kind = 'film'", &[0]),
            ("kind is null", &[1]),
            ("price > 2.0 and price <= 2.5", &[1]),
            ("at = '1970-01-01T00:00:00.5'", &[1]),
            ("at >= '1970-01-01T04:00:00+02:00'", &[2]),
            ("at < '1970-01-01 00:00:00.2 UTC'", &[0]),
            ("plain = '1970-01-01 01:00:00+0100'", &[0]),
            ("plain > '1970-01-01T00:00:00Z' and plain < '1970-01-01T00:00:02Z'", &[1]),
            ("plain in ('1970-01-01', 7200)", &[0, 2]),
            ("not (user = 1 or user = 2)", &[2]),
            ("user = 1 or user = 2 and title = 'it''s'", &[0, 1]),
            ("rating > 99 or user = 3", &[2]),
        ];
        for (text, wanted) in cases {
            assert_eq!(rows(text), wanted, "{text}");
        }
    }

    #[test]
    fn a_missing_value_makes_neither_a_test_nor_its_opposite_true() {
        assert_eq!(rows("rating < 1 or not rating < 1"), [0, 2]);
        assert_eq!(rows("rating = 1 or user = 2"), [1], "but the rest of an `or` still counts");
    }

    #[test]
    fn only_the_columns_in_it_are_read() {
        let filter = Filter::read("title is null or user = 1 or title = 'x'", &films().schema()).unwrap();
        assert_eq!(filter.columns, [0, 2]);
    }

    #[test]
    fn what_is_wrong_is_told_with_a_caret() {
        let told = |text: &str| format!("{:#}", Filter::read(text, &films().schema()).err().expect(text));
        assert_eq!(
            told("raitng >= 4"),
            "invalid filter: there is no column `raitng`\n  raitng >= 4\n  ^^^^^^\nhelp: the columns are user, \
             rating, title, seen, day, genres, a column, kind, price, at, plain"
        );
        for (text, caret, words) in [
            ("rating >=", "           ^", "expected a value"),
            ("rating >= and", "            ^^^", "expected a value, found `and`"),
            ("rating 4", "         ^", "expected a comparison, found `4`"),
            ("rating >= 'x'", "            ^^^", "rating is Float32, which is compared with a number"),
            ("title = 4", "          ^", "title is Utf8, which is compared with a text in single quotes"),
            ("title = Heat", "          ^^^^", "title is Utf8, which is compared with a text in single quotes"),
            ("day > 'soon'", "        ^^^^^^", "`soon` is not a Date32"),
            (
                "plain > '1970-01-01T00:00:00.5'",
                "          ^^^^^^^^^^^^^^^^^^^^^^^",
                "finer or farther than a Timestamp(s) holds",
            ),
            ("seen = 1", "         ^", "seen is Boolean, which is compared with true or false"),
            ("genres = 'Drama'", "           ^^^^^^^", "use `contains`"),
            ("user contains '1'", "  ^^^^^^^^", ""),
            ("(user = 1", "           ^", "expected `)`"),
            ("user = 1)", "          ^", "unexpected token"),
            ("user = 1 user = 2", "           ^^^^", "unexpected token"),
            ("title = 'Heat", "          ^^^^^", "unterminated text"),
            ("user = 1 & seen = true", "           ^", "unexpected character"),
            ("", "  ^", "expected a column"),
            ("user = 1e999", "         ^^^^^", "not a finite number"),
            ("user in ()", "           ^", "expected a value"),
        ] {
            let told = told(text);
            let lines: Vec<_> = told.lines().collect();
            assert!(told.contains(words), "{text}: {told}");
            assert_eq!(lines[2].matches('^').count(), caret.trim().len(), "{text}: {told}");
            assert!(lines[0].contains(words) || told.contains("help: "), "{text}: {told}");
        }
    }

    #[test]
    fn no_filter_is_too_deep_for_the_stack() {
        let deep = "(".repeat(100_000) + "user = 1" + &")".repeat(100_000);
        let told = format!("{:#}", Filter::read(&deep, &films().schema()).err().unwrap());
        assert!(told.contains("nested deeper than"), "{}", &told[..200]);
        let long = vec!["user = 1"; 20_000].join(" or ");
        assert_eq!(rows(&long), [0]);
        assert_eq!(rows(&("not ".repeat(20) + "user = 1")), [0]);
    }
}
