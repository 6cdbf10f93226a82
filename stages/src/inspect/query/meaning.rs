//! What a query means where polars alone answers otherwise, by the types of what it computes with.
//!
//! - Numbers compare as IEEE 754 says: of a NaN only `!=` is true. (polars takes NaN for equal to itself and larger than any number.)
//!   `greatest` and `least` leave NaN out, as `max` and `min` do.
//! - Integers are added, subtracted, multiplied, divided with `//`, and raised to powers in 64 bits, and what does not fit is an error;
//!   `sum` takes 38 digits. (polars wraps around.)
//! - Floating-point numbers of 32 bits are computed with as 64.
//! - A join by other tests than `=` is a product of which the tests leave some rows. (polars does not build in what it plans for them, and
//!   forgets which rows an outer join keeps: that is refused.)

use std::sync::Arc;

use polars::prelude::{
    AggExpr, DataType, DslPlan, Expr, FunctionExpr, JoinOptions, JoinType, LazyFrame, NULL, Operator, PolarsError,
    PowFunction, SchemaRef, coalesce, lit,
};

use super::integers::{self, Operation};

/// Digits of a sum of integers: as many as a decimal has.
const WIDE: DataType = DataType::Decimal(38, 0);

/// The same plan with that meaning.
///
/// # Errors
/// As [`LazyFrame::collect_schema`], and of an outer join by other tests than `=`.
pub(super) fn plan(plan: DslPlan) -> Result<DslPlan, PolarsError> {
    let is_product = |part: &DslPlan| match part {
        DslPlan::Join { predicates, options, .. } => !predicates.is_empty() || options.args.how == JoinType::Cross,
        _ => false,
    };
    let has_products = (&plan).into_iter().any(is_product);
    Meaning { has_products }.plan(plan)
}

struct Meaning {
    /// Whether rows are joined with all rows.
    has_products: bool,
}

impl Meaning {
    fn plan(&self, plan: DslPlan) -> Result<DslPlan, PolarsError> {
        use DslPlan as P;
        Ok(match plan {
            P::Filter { input, predicate } => {
                let (input, schema) = self.below(input)?;
                P::Filter { predicate: self.expr(predicate, &schema)?, input }
            }
            P::Select { expr, input, options } => {
                let (input, schema) = self.below(input)?;
                P::Select { expr: self.all(expr, &schema)?, input, options }
            }
            P::HStack { input, exprs, options } => {
                let (input, schema) = self.below(input)?;
                P::HStack { exprs: self.all(exprs, &schema)?, input, options }
            }
            P::GroupBy { input, keys, predicates, aggs, maintain_order, options, apply } => {
                let (input, schema) = self.below(input)?;
                let (keys, aggs) = (self.all(keys, &schema)?, self.all(aggs, &schema)?);
                P::GroupBy {
                    keys,
                    predicates: self.all(predicates, &schema)?,
                    aggs,
                    input,
                    maintain_order,
                    options,
                    apply,
                }
            }
            P::Sort { input, by_column, slice, sort_options } => {
                let (input, schema) = self.below(input)?;
                P::Sort { by_column: self.all(by_column, &schema)?, input, slice, sort_options }
            }
            P::Join { input_left, input_right, predicates, options, .. } if !predicates.is_empty() => {
                if options.args.how != JoinType::Inner {
                    let text =
                        "an outer join takes no test but `=`; with others a plain `join` keeps the rows that pass";
                    return Err(PolarsError::SQLInterface(text.into()));
                }
                let mut options = Arc::unwrap_or_clone(options);
                options.args.how = JoinType::Cross;
                let (options, none) = (Arc::<JoinOptions>::new(options), Vec::new);
                let product =
                    P::Join { input_left, input_right, left_on: none(), right_on: none(), predicates: none(), options };
                let tested = |input: DslPlan, predicate| P::Filter { input: input.into(), predicate };
                self.plan(predicates.into_iter().fold(product, tested))?
            }
            P::Join { input_left, input_right, left_on, right_on, predicates, options } => {
                let ((input_left, left), (input_right, right)) = (self.below(input_left)?, self.below(input_right)?);
                let (left_on, right_on) = (self.all(left_on, &left)?, self.all(right_on, &right)?);
                P::Join { input_left, input_right, left_on, right_on, predicates, options }
            }
            P::Cache { input, id } => P::Cache { input: self.below(input)?.0, id },
            P::Distinct { input, options } => P::Distinct { input: self.below(input)?.0, options },
            P::Slice { input, offset, len } => P::Slice { input: self.below(input)?.0, offset, len },
            P::MapFunction { input, function } => P::MapFunction { input: self.below(input)?.0, function },
            P::Union { inputs, args } => {
                P::Union { inputs: inputs.into_iter().map(|part| self.plan(part)).collect::<Result<_, _>>()?, args }
            }
            P::HConcat { inputs, options } => P::HConcat {
                inputs: inputs.into_iter().map(|part| self.plan(part)).collect::<Result<_, _>>()?,
                options,
            },
            P::ExtContext { input, contexts } => P::ExtContext {
                input: self.below(input)?.0,
                contexts: contexts.into_iter().map(|part| self.plan(part)).collect::<Result<_, _>>()?,
            },
            // What polars keeps of a plan whose schema was asked for.
            P::IR { dsl, .. } => self.plan(Arc::unwrap_or_clone(dsl))?,
            // The others hold no expression, or are none that SQL leads to.
            other => other,
        })
    }

    fn below(&self, input: Arc<DslPlan>) -> Result<(Arc<DslPlan>, SchemaRef), PolarsError> {
        let input = self.plan(Arc::unwrap_or_clone(input))?;
        let schema = LazyFrame::from(input.clone()).collect_schema()?;
        Ok((Arc::new(input), schema))
    }

    fn all(&self, exprs: Vec<Expr>, schema: &SchemaRef) -> Result<Vec<Expr>, PolarsError> {
        exprs.into_iter().map(|part| self.expr(part, schema)).collect()
    }

    fn expr(&self, expr: Expr, schema: &SchemaRef) -> Result<Expr, PolarsError> {
        // What has no type by itself, such as the parts of a list that is computed with, stays as it is.
        let kind = |expr: &Expr| expr.to_field(schema).map_or(DataType::Null, |field| field.dtype);
        expr.try_map_expr(|part| {
            Ok(match part {
                Expr::BinaryExpr { left, op, right } => {
                    let kinds = (kind(&left), kind(&right));
                    let (left, right) = (Arc::unwrap_or_clone(left), Arc::unwrap_or_clone(right));
                    let is_range = matches!(op, Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq);
                    let is_constant = [&left, &right].iter().any(|side| matches!(side, Expr::Literal(_)));
                    let compared = binary(left, op, right, &kinds);
                    if self.has_products && is_range && !is_constant { hidden(compared) } else { compared }
                }
                Expr::Function { function, input } => called(function, input, &kind),
                Expr::Agg(AggExpr::Sum(of)) => Expr::Agg(AggExpr::Sum(summed(Arc::unwrap_or_clone(of), &kind).into())),
                part => part,
            })
        })
    }
}

/// A comparison or computation of two values of these types.
fn binary(left: Expr, op: Operator, right: Expr, (one, other): &(DataType, DataType)) -> Expr {
    use Operator as Op;
    let may_be_nan = |expr: &Expr, kind: &DataType| kind.is_float() && !matches!(expr, Expr::Literal(_));
    let (is_left, is_right) = (may_be_nan(&left, one), may_be_nan(&right, other));
    let as_written = |left: Expr, op, right: Expr| Expr::BinaryExpr { left: left.into(), op, right: right.into() };
    // A missing value makes the whole missing, as without NaN.
    let number = |of: &Expr, beside: &Expr| match beside {
        Expr::Literal(_) => of.clone().is_not_nan(),
        beside => of.clone().is_not_nan().or(beside.clone().is_null()),
    };
    let operation = match op {
        Op::Plus => Some(Operation::Add),
        Op::Minus => Some(Operation::Subtract),
        Op::Multiply => Some(Operation::Multiply),
        Op::FloorDivide => Some(Operation::Divide),
        _ => None,
    };
    match (op, operation) {
        (Op::Gt | Op::GtEq, _) if is_left => {
            let guard = number(&left, &right);
            as_written(left, op, right).and(guard)
        }
        (Op::Lt | Op::LtEq, _) if is_right => {
            let guard = number(&right, &left);
            as_written(left, op, right).and(guard)
        }
        (Op::Eq | Op::NotEq, _) if is_left && is_right => {
            let guard = number(&left, &right);
            let equal = as_written(left, Op::Eq, right).and(guard);
            if op == Op::Eq { equal } else { equal.not() }
        }
        (_, Some(operation)) if one.is_integer() && other.is_integer() => {
            integers::binary(operation, left, right, &integer(one, other))
        }
        (Op::Plus | Op::Minus | Op::Multiply | Op::TrueDivide, _) => {
            as_written(wider(left, one), op, wider(right, other))
        }
        _ => as_written(left, op, right),
    }
}

/// The integers that come out of two kinds of them.
fn integer(one: &DataType, other: &DataType) -> DataType {
    if [one, other].contains(&&DataType::UInt64) { DataType::UInt64 } else { DataType::Int64 }
}

fn wider(expr: Expr, kind: &DataType) -> Expr {
    if *kind == DataType::Float32 { expr.strict_cast(DataType::Float64) } else { expr }
}

/// What is added up, in numbers that are wide enough.
fn summed(of: Expr, kind: &impl Fn(&Expr) -> DataType) -> Expr {
    use DataType as T;
    match kind(&of) {
        T::Int8 | T::Int16 | T::Int32 | T::UInt8 | T::UInt16 | T::UInt32 => of.strict_cast(T::Int64),
        T::Int64 | T::UInt64 => of.strict_cast(WIDE),
        kind => wider(of, &kind),
    }
}

/// The same test as one that polars plans no join by.
fn hidden(test: Expr) -> Expr {
    test.map(Ok, |_, field| Ok(field.clone()))
}

/// A function of these values.
fn called(function: FunctionExpr, input: Vec<Expr>, kind: &impl Fn(&Expr) -> DataType) -> Expr {
    match (&function, &input[..]) {
        (FunctionExpr::Abs, [of]) if kind(of).is_integer() => {
            integers::unary(Operation::Abs, of.clone(), &integer(&kind(of), &DataType::Int64))
        }
        (FunctionExpr::Pow(PowFunction::Generic), [base, exponent])
            if kind(base).is_integer() && kind(exponent).is_integer() =>
        {
            let result = integer(&kind(base), &DataType::Int64);
            integers::binary(Operation::Power, base.clone(), exponent.clone(), &result)
        }
        (FunctionExpr::MaxHorizontal | FunctionExpr::MinHorizontal, values)
            if values.iter().any(|value| kind(value).is_float()) =>
        {
            // As `max` and `min`, which leave NaN out: polars takes the one that comes first.
            let number = |value: &Expr| match kind(value).is_float() && !matches!(value, Expr::Literal(_)) {
                true => value.clone().fill_nan(lit(NULL)),
                false => value.clone(),
            };
            let numbers = Expr::Function { input: values.iter().map(number).collect(), function };
            coalesce(&[&[numbers], values].concat())
        }
        (FunctionExpr::CumSum { .. }, [of]) => Expr::Function { input: vec![summed(of.clone(), kind)], function },
        _ => Expr::Function { input, function },
    }
}
