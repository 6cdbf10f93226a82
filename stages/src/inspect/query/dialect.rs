//! SQL as this program reads it: the grammar is sqlparser's, the meaning is polars'; added is what a table of a log needs.
//!
//! - `genres contains 'Drama'`: an element of a list, or a part of a text.
//! - A date or time in single quotes that is compared with a column of moments has any form and zone
//!   ([`parse_date_time`]); without a zone it is UTC.
//!
//! How numbers are compared and computed with says [`super::meaning`].

use std::ops::ControlFlow;

use chrono::{DateTime, Utc};
use polars::prelude::{DataType, Schema, TimeUnit};
use sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectName, Query, Spanned, Statement,
    UnaryOperator, Value, Visit, Visitor, visit_expressions_mut,
};
use sqlparser::dialect::GenericDialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Span, Token, TokenWithSpan, Tokenizer};

use super::fault::{Fault, Written};
use crate::artifact::parse_date_time;

/// Tests that may be joined: each takes its share of the stack of every thread that works on them.
const JOINED: usize = 200;

/// The rows of `self` for which a condition is true, as a query that polars reads.
///
/// # Errors
/// Where it is no condition over the columns.
pub(super) fn condition(written: &Written<'_>) -> Result<String, Fault> {
    let mut parser = parser(written)?;
    let mut condition = parser.parse_expr().map_err(|error| written.unparsed(&error))?;
    let next = parser.peek_token();
    if next.token != Token::EOF {
        let found = match &next.token {
            Token::Word(word) => word.value.clone(),
            other => other.to_string(),
        };
        let message = format!("unexpected `{}` behind the end", pipeline::escape::shown(&found, 80));
        return Err(Fault { at: next.span, message, help: "join tests with `and` and `or`".into() });
    }
    only_self(&condition, written)?;
    // Without a query around it every name is a column.
    let unknown = visit_expressions_mut(&mut condition, |part| match part {
        Expr::Identifier(name) if name.quote_style.is_none() && is_joint(&name.value) => {
            let message = format!("expected a value, found `{}`", name.value);
            let help = "a value is a number, a text in single quotes, `true` or `false`".into();
            ControlFlow::Break(Fault { at: name.span, message, help })
        }
        Expr::Identifier(name) if !written.schema.contains(&name.value) => {
            let mut fault = written.no_column(&name.value, name.span);
            if name.quote_style.is_none() {
                fault.help += "; a text stands in single quotes";
            }
            ControlFlow::Break(fault)
        }
        _ => ControlFlow::Continue(()),
    });
    settled(unknown)?;
    settled(visit_expressions_mut(&mut condition, |part| flow(adapt(part, written))))?;
    Ok(format!("SELECT * FROM self WHERE ({condition})"))
}

/// A query that polars reads.
///
/// # Errors
/// Where it is not one `select`.
pub(super) fn statement(written: &Written<'_>) -> Result<String, Fault> {
    let mut statements = parser(written)?.parse_statements().map_err(|error| written.unparsed(&error))?;
    let [statement @ Statement::Query(_)] = &mut statements[..] else {
        let message = match statements.len() {
            1 => "only a `select` is answered: no file is changed".into(),
            several => format!("it holds {several} statements, not one"),
        };
        return Err(Fault { at: Span::empty(), message, help: "write `select … from self …`".into() });
    };
    only_self(statement, written)?;
    settled(visit_expressions_mut(statement, |part| flow(adapt(part, written))))?;
    Ok(statement.to_string())
}

/// Refuses every table but `self` and those that the query itself makes: polars would open files by functions such as `read_csv`.
fn only_self(part: &impl Visit, written: &Written<'_>) -> Result<(), Fault> {
    struct Tables<'a> {
        written: &'a Written<'a>,
        made: Vec<String>,
    }
    impl Visitor for Tables<'_> {
        type Break = Fault;
        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Fault> {
            let made = query.with.iter().flat_map(|with| &with.cte_tables).map(|table| table.alias.name.value.clone());
            self.made.extend(made);
            ControlFlow::Continue(())
        }
        fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<Fault> {
            let shown = name.to_string();
            if shown == TABLE || self.made.contains(&shown) {
                return ControlFlow::Continue(());
            }
            ControlFlow::Break(self.written.no_table(&shown, name.span()))
        }
    }
    settled(part.visit(&mut Tables { written, made: Vec::new() }))
}

fn settled(flow: ControlFlow<Fault>) -> Result<(), Fault> {
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(fault) => Err(fault),
    }
}

fn flow(outcome: Result<(), Fault>) -> ControlFlow<Fault> {
    outcome.map_or_else(ControlFlow::Break, ControlFlow::Continue)
}

fn parser(written: &Written<'_>) -> Result<Parser<'static>, Fault> {
    let tokens = Tokenizer::new(&GenericDialect {}, written.text).tokenize_with_location();
    let tokens = tokens.map_err(|error| written.unparsed(&ParserError::TokenizerError(error.to_string())))?;
    let tokens = tokens.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_)));
    let tokens: Vec<_> = tokens.map(as_column).collect();
    let joins = tokens.iter().filter(|token| is_word(token, "and") || is_word(token, "or"));
    if let Some(last) = joins.clone().nth(JOINED) {
        let message = format!("it joins more than {JOINED} tests");
        return Err(Fault { at: last.span, message, help: "write `column in (…)` for many values".into() });
    }
    Ok(Parser::new(&GenericDialect {}).with_tokens_with_locations(as_calls(tokens)))
}

/// Words between tests, which the parser takes for a column where one is missing.
fn is_joint(word: &str) -> bool {
    ["and", "or", "not", "in", "is", "like", "between"].iter().any(|joint| word.eq_ignore_ascii_case(joint))
}

/// Columns of every log, which the grammar takes for functions without arguments that polars has not.
fn as_column(mut token: TokenWithSpan) -> TokenWithSpan {
    if let Token::Word(word) = &mut token.token
        && matches!(
            word.keyword,
            Keyword::USER | Keyword::CURRENT_USER | Keyword::SESSION_USER | Keyword::CURRENT_CATALOG
        )
    {
        (word.quote_style, word.keyword) = (Some('"'), Keyword::NoKeyword);
    }
    token
}

fn is_word(token: &TokenWithSpan, word: &str) -> bool {
    matches!(&token.token, Token::Word(found) if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
}

/// `a.b not contains 'x'` as `not contains(a.b, 'x')`.
fn as_calls(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut rest = tokens.into_iter().peekable();
    while let Some(token) = rest.next() {
        let is_value = |next: &TokenWithSpan| matches!(next.token, Token::SingleQuotedString(_) | Token::Number(..));
        let is_column = |last: &TokenWithSpan| matches!(last.token, Token::Word(_));
        let negated = usize::from(out.last().is_some_and(|last| is_word(last, "not")));
        let column = out.len().checked_sub(1 + negated).filter(|&at| is_column(&out[at]));
        let (Some(mut from), true) = (column, is_word(&token, "contains") && rest.peek().is_some_and(is_value)) else {
            out.push(token);
            continue;
        };
        while from >= 2 && out[from - 1].token == Token::Period && is_column(&out[from - 2]) {
            from -= 2;
        }
        let at = token.span;
        let not = (negated > 0).then(|| out.pop()).flatten();
        let open = TokenWithSpan::new(Token::LParen, at);
        out.splice(from..from, not.into_iter().chain([token, open]));
        out.extend([TokenWithSpan::new(Token::Comma, at)].into_iter().chain(rest.next()));
        out.push(TokenWithSpan::new(Token::RParen, at));
    }
    out
}

/// Gives a comparison with a column its meaning.
fn adapt(part: &mut Expr, written: &Written<'_>) -> Result<(), Fault> {
    use BinaryOperator as Op;
    match part {
        Expr::Identifier(name) if is_pattern(&name.value) => return Err(written.no_column(&name.value, name.span)),
        Expr::CompoundIdentifier(names) => {
            if let Some(name) = names.iter().find(|name| is_pattern(&name.value)) {
                return Err(written.no_column(&name.value, name.span));
            }
        }
        Expr::BinaryOp { left, op: Op::Eq | Op::NotEq | Op::Lt | Op::LtEq | Op::Gt | Op::GtEq, right } => {
            if let Some((name, kind)) = column(left, written.schema) {
                fit(&name, &kind, right)?;
            } else if let Some((name, kind)) = column(right, written.schema) {
                fit(&name, &kind, left)?;
            }
        }
        Expr::InList { expr, list, .. } => {
            if let Some((name, kind)) = column(expr, written.schema) {
                list.iter_mut().try_for_each(|value| fit(&name, &kind, value))?;
            }
        }
        Expr::Between { expr, low, high, .. } => {
            if let Some((name, kind)) = column(expr, written.schema) {
                fit(&name, &kind, low)?;
                fit(&name, &kind, high)?;
            }
        }
        Expr::Function(call) if call.name.to_string().eq_ignore_ascii_case("contains") => {
            let at = call.name.span();
            let FunctionArguments::List(list) = &mut call.args else { return Ok(()) };
            let [FunctionArg::Unnamed(FunctionArgExpr::Expr(of)), FunctionArg::Unnamed(FunctionArgExpr::Expr(value))] =
                &mut list.args[..]
            else {
                return Ok(());
            };
            let Some((name, kind)) = column(of, written.schema) else {
                return Err(written.no_column(&of.to_string(), of.span()));
            };
            *part = match kind {
                DataType::List(element) => {
                    fit(&format!("an element of {name}"), &element, value)?;
                    parsed(&format!("ARRAY_CONTAINS({of}, {value})"))
                }
                DataType::String => {
                    fit(&name, &kind, value)?;
                    let Some(text) = text(value) else { return Ok(()) };
                    let pattern = Value::SingleQuotedString(literally(text));
                    parsed(&format!("REGEXP_LIKE({of}, {pattern})"))
                }
                _ => {
                    let message = format!("{name} is {kind}: only texts and lists contain something");
                    return Err(Fault { at, message, help: "compare with `=` or `in (…)`".into() });
                }
            };
        }
        _ => {}
    }
    Ok(())
}

/// The name and type of a column, or of a field of one.
fn column(expr: &Expr, schema: &Schema) -> Option<(String, DataType)> {
    let (first, fields) = match expr {
        Expr::Nested(inner) => return column(inner, schema),
        Expr::Identifier(name) => (name, &[][..]),
        Expr::CompoundIdentifier(names) => match &names[..] {
            [table, name, rest @ ..] if table.value == "self" => (name, rest),
            [name, rest @ ..] => (name, rest),
            [] => return None,
        },
        _ => return None,
    };
    let mut kind = schema.get(&first.value)?;
    for field in fields {
        let DataType::Struct(parts) = kind else { return None };
        kind = &parts.iter().find(|part| part.name == field.value)?.dtype;
    }
    let names = std::iter::once(first).chain(fields).map(|name| name.value.as_str()).collect::<Vec<_>>();
    Some((pipeline::escape::shown(&names.join("."), 80), kind.clone()))
}

/// Checks a constant that is compared with a column of this type; a moment becomes one in UTC as precise as the column.
fn fit(name: &str, kind: &DataType, value: &mut Expr) -> Result<(), Fault> {
    let at = value.span();
    let wrong = |message: String, help: String| Err(Fault { at, message, help });
    match (kind, text(value), is_number(value)) {
        (DataType::Datetime(..) | DataType::Date, Some(written), _) => match moment(written, kind) {
            Ok(written) => *value = Expr::value(Value::SingleQuotedString(written)),
            Err(message) => return wrong(message, "write it like '2020-01-31' or '2020-01-31T12:00:00+02:00'".into()),
        },
        (DataType::Datetime(..) | DataType::Date, None, true) => {
            return wrong(
                format!("{name} is {kind}, which is compared with a moment in single quotes"),
                "write it like '2020-01-31' or '2020-01-31T12:00:00+02:00'".into(),
            );
        }
        (DataType::String, None, true) => {
            return wrong(
                format!("{name} is {kind}, which is compared with a text in single quotes"),
                format!("write '{value}'"),
            );
        }
        (kind, Some(_), _) if kind.is_primitive_numeric() || kind.is_decimal() => {
            return wrong(
                format!("{name} is {kind}, which is compared with a number"),
                "write it without quotes".into(),
            );
        }
        (DataType::Boolean, written, number) if written.is_some() || number => {
            return wrong(format!("{name} is {kind}, which is compared with true or false"), format!("write `{name}`"));
        }
        (DataType::List(_), written, number) if written.is_some() || number => {
            return wrong(format!("{name} is a list"), format!("write `{name} contains {value}`"));
        }
        _ => {}
    }
    Ok(())
}

fn text(value: &Expr) -> Option<&str> {
    match value {
        Expr::Value(found) => match &found.value {
            Value::SingleQuotedString(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

fn is_number(value: &Expr) -> bool {
    match value {
        Expr::Value(found) => matches!(found.value, Value::Number(..)),
        Expr::UnaryOp { op: UnaryOperator::Minus | UnaryOperator::Plus, expr } => is_number(expr),
        _ => false,
    }
}

/// A moment as polars reads it for a column of this type.
fn moment(written: &str, kind: &DataType) -> Result<String, String> {
    let shown = pipeline::escape::shown(written, 80);
    let moment = parse_date_time(written).ok_or_else(|| format!("`{shown}` is no date or time"))?;
    let again = |form: &str| {
        let read = moment.format(form).to_string();
        // A finer moment would be cut: no value of the column equals it.
        (parse_date_time(&read) == Some(moment)).then_some(read)
    };
    let read = match kind {
        DataType::Datetime(TimeUnit::Milliseconds, _) => again("%Y-%m-%dT%H:%M:%S%.3f"),
        DataType::Datetime(TimeUnit::Microseconds, _) => again("%Y-%m-%dT%H:%M:%S%.6f"),
        DataType::Datetime(TimeUnit::Nanoseconds, _) => again("%Y-%m-%dT%H:%M:%S%.9f").filter(|_| has_ticks(moment)),
        _ => again("%Y-%m-%d"),
    };
    read.ok_or_else(|| format!("`{shown}` is finer or farther than {kind} holds"))
}

/// Whether nanoseconds since 1970 fit 64 bits: the years 1677 to 2262.
fn has_ticks(moment: DateTime<Utc>) -> bool {
    moment.timestamp_nanos_opt().is_some()
}

/// A pattern that means just this text.
fn literally(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for letter in text.chars() {
        if r"\.+*?()|[]{}^$#&-~".contains(letter) {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern
}

/// An expression that is well formed because it was put together here.
fn parsed(text: &str) -> Expr {
    let parser = Parser::new(&GenericDialect {}).try_with_sql(text);
    parser.and_then(|mut parser| parser.parse_expr()).expect("an expression of ours can be read")
}

/// The table that a query is about.
pub(super) const TABLE: &str = "self";

/// Whether polars takes a name for a pattern of names.
pub(super) fn is_pattern(name: &str) -> bool {
    name == "*" || (name.starts_with('^') && name.ends_with('$'))
}
