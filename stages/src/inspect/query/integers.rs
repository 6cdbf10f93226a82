//! Integers that are computed with in 64 bits, where what does not fit is an error; polars wraps around.

use polars::prelude::{
    Column, DataType, Expr, Field, Int64Chunked, IntoColumn as _, IntoSeries as _, PolarsError, Schema, Series,
    UInt64Chunked, map_multiple,
};

/// What the message of a result ends with that does not fit.
pub(super) const BEYOND: &str = "beyond the integers of 64 bits";

/// What is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Add,
    Subtract,
    Multiply,
    /// Rounded down; of a division by zero the result is missing.
    Divide,
    Power,
    Abs,
}

/// An operation on two integers, with a result of type `Int64` or `UInt64`.
pub(super) fn binary(operation: Operation, left: Expr, right: Expr, result: &DataType) -> Expr {
    of(operation, vec![left, right], result.clone())
}

/// An operation on an integer, with a result of type `Int64` or `UInt64`.
pub(super) fn unary(operation: Operation, of: Expr, result: &DataType) -> Expr {
    self::of(operation, vec![of], result.clone())
}

fn of(operation: Operation, parts: Vec<Expr>, result: DataType) -> Expr {
    let kind = result.clone();
    let field = move |_: &Schema, fields: &[Field]| Ok(Field::new(fields[0].name().clone(), result.clone()));
    map_multiple(move |columns| operation.columns(columns, &kind), parts, field)
}

impl Operation {
    fn columns(self, columns: &[Column], result: &DataType) -> Result<Column, PolarsError> {
        // A constant stands for as many as there are values beside it.
        let rows = if columns.iter().any(|column| column.is_empty()) {
            0
        } else {
            columns.iter().map(Column::len).max().unwrap_or(0)
        };
        let series = |column: &Column| match column.as_materialized_series() {
            series if series.len() == rows => series.clone(),
            series => series.new_from_index(0, rows),
        };
        let all: Vec<Series> = columns.iter().map(series).collect();
        let name = columns[0].name().clone();
        let left = values(&all[0])?;
        let right: Box<dyn Iterator<Item = Option<i128>> + '_> = match all.get(1) {
            Some(right) => values(right)?,
            None => Box::new(std::iter::repeat_n(Some(0), rows)),
        };
        let pairs = left.zip(right);
        Ok(match result {
            DataType::UInt64 => {
                self.results(pairs).collect::<Result<UInt64Chunked, _>>()?.with_name(name).into_series().into_column()
            }
            _ => self.results(pairs).collect::<Result<Int64Chunked, _>>()?.with_name(name).into_series().into_column(),
        })
    }

    /// The results that fit a type.
    fn results<T: TryFrom<i128>>(
        self,
        pairs: impl Iterator<Item = (Option<i128>, Option<i128>)>,
    ) -> impl Iterator<Item = Result<Option<T>, PolarsError>> {
        pairs.map(move |pair| {
            let (Some(left), Some(right)) = pair else { return Ok(None) };
            let beyond = || PolarsError::InvalidOperation(format!("{} is {BEYOND}", self.written(left, right)).into());
            match self.exactly(left, right).ok_or_else(beyond)? {
                Some(exact) => T::try_from(exact).map(Some).map_err(|_| beyond()),
                None => Ok(None),
            }
        })
    }

    /// The result; the outer `None` where not even 128 bits hold it, or it is no integer.
    fn exactly(self, left: i128, right: i128) -> Option<Option<i128>> {
        let exact = match self {
            Self::Add => left.checked_add(right)?,
            Self::Subtract => left.checked_sub(right)?,
            Self::Multiply => left.checked_mul(right)?,
            Self::Divide if right == 0 => return Some(None),
            Self::Divide => {
                let is_between = left % right != 0 && (left < 0) != (right < 0);
                left / right - i128::from(is_between)
            }
            Self::Power => left.checked_pow(u32::try_from(right).ok()?)?,
            Self::Abs => left.abs(),
        };
        Some(Some(exact))
    }

    fn written(self, left: i128, right: i128) -> String {
        match self {
            Self::Add => format!("{left} + {right}"),
            Self::Subtract => format!("{left} - {right}"),
            Self::Multiply => format!("{left} * {right}"),
            Self::Divide => format!("{left} // {right}"),
            Self::Power => format!("power({left}, {right})"),
            Self::Abs => format!("abs({left})"),
        }
    }
}

/// The values of a series of integers.
fn values(series: &Series) -> Result<Box<dyn Iterator<Item = Option<i128>> + '_>, PolarsError> {
    if *series.dtype() == DataType::UInt64 {
        return Ok(Box::new(series.u64()?.iter().map(|value| value.map(i128::from))));
    }
    let wide = series.strict_cast(&DataType::Int64)?;
    let values: Vec<Option<i64>> = wide.i64()?.iter().collect();
    Ok(Box::new(values.into_iter().map(|value| value.map(i128::from))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_exact_or_refused() {
        let max = i128::from(i64::MAX);
        for (operation, left, right, wanted) in [
            (Operation::Add, max, 0, Some(max)),
            (Operation::Add, max, 1, None),
            (Operation::Subtract, -max, 2, None),
            (Operation::Multiply, max, 2, None),
            (Operation::Multiply, i128::from(u64::MAX), i128::from(u64::MAX), None),
            (Operation::Divide, -7, 2, Some(-4)),
            (Operation::Divide, 7, -2, Some(-4)),
            (Operation::Divide, -8, 2, Some(-4)),
            (Operation::Divide, -max - 1, -1, None),
            (Operation::Power, -2, 63, Some(-max - 1)),
            (Operation::Power, 2, 63, None),
            (Operation::Power, 2, -1, None),
            (Operation::Abs, -max - 1, 0, None),
        ] {
            let found = operation.results::<i64>([(Some(left), Some(right))].into_iter()).next().unwrap();
            match (found, wanted) {
                (Ok(found), Some(wanted)) => assert_eq!(found.map(i128::from), Some(wanted), "{operation:?}"),
                (Err(error), None) => assert!(error.to_string().ends_with(BEYOND), "{error}"),
                (found, _) => panic!("{operation:?} {left} {right}: {found:?}"),
            }
        }
        let none = Operation::Divide.results::<i64>([(Some(1), Some(0)), (None, Some(1))].into_iter());
        assert!(none.map(Result::unwrap).all(|value| value.is_none()));
    }
}
