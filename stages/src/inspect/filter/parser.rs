//! The parser of filters: from tokens to an expression over the columns of a schema.
//!
//! ```text
//! any   = all { "or" all }
//! all   = one { "and" one }
//! one   = "not" one | "(" any ")" | test
//! test  = column ( sign value | ["not"] "in" "(" value { "," value } ")" | ["not"] "contains" value | "is" ["not"] "null" )
//! ```

use arrow::datatypes::Schema;

use super::Fault;
use super::lexer::{Kind, Token};
use super::predicate::{Literal, Operator, Predicate};

/// How deep parentheses and `not` may be nested: each level takes stack.
const DEEPEST: usize = 64;

pub(super) enum Expression {
    And(Vec<Self>),
    Or(Vec<Self>),
    Not(Box<Self>),
    Predicate(usize, Predicate),
}

impl Expression {
    /// Adds every column in it.
    pub fn columns(&self, all: &mut Vec<usize>) {
        match self {
            Self::And(parts) | Self::Or(parts) => parts.iter().for_each(|part| part.columns(all)),
            Self::Not(inner) => inner.columns(all),
            Self::Predicate(column, _) => all.push(*column),
        }
    }
}

pub(super) fn read(words: &[Token], schema: &Schema) -> Result<Expression, Fault> {
    let mut reader = Reader { words, schema, at: 0 };
    let expression = reader.any(0)?;
    match reader.word().kind {
        Kind::End => Ok(expression),
        _ => Err(reader.fault("unexpected token after the end of the filter", Some("join tests with `and` or `or`"))),
    }
}

struct Reader<'a> {
    words: &'a [Token],
    schema: &'a Schema,
    at: usize,
}

impl<'a> Reader<'a> {
    /// The next word; the last one is the end and stays.
    fn word(&self) -> &'a Token {
        &self.words[self.at.min(self.words.len() - 1)]
    }

    fn takes_keyword(&mut self, keyword: &str) -> bool {
        let found = matches!(&self.word().kind, Kind::Word(word) if word.eq_ignore_ascii_case(keyword));
        self.at += usize::from(found);
        found
    }

    fn takes(&mut self, sign: &str) -> bool {
        let found = matches!(self.word().kind, Kind::Operator(found) if found == sign);
        self.at += usize::from(found);
        found
    }

    fn fault(&self, message: &str, help: Option<&str>) -> Fault {
        let word = self.word();
        Fault { from: word.from, to: word.to, message: message.into(), help: help.map(Into::into) }
    }

    /// The fault that something else should stand here.
    fn wanted(&self, what: &str, help: &str) -> Fault {
        let word = self.word();
        let message = match word.kind {
            Kind::End => format!("expected {what} at the end"),
            _ => format!("expected {what}, found `{}`", word.written),
        };
        self.fault(&message, Some(help))
    }

    fn any(&mut self, depth: usize) -> Result<Expression, Fault> {
        let mut parts = vec![self.all(depth)?];
        while self.takes_keyword("or") {
            parts.push(self.all(depth)?);
        }
        Ok(one_or(parts, Expression::Or))
    }

    fn all(&mut self, depth: usize) -> Result<Expression, Fault> {
        let mut parts = vec![self.one(depth)?];
        while self.takes_keyword("and") {
            parts.push(self.one(depth)?);
        }
        Ok(one_or(parts, Expression::And))
    }

    fn one(&mut self, depth: usize) -> Result<Expression, Fault> {
        if depth > DEEPEST {
            return Err(self.fault(&format!("nested deeper than {DEEPEST} levels"), None));
        }
        if self.takes_keyword("not") {
            return Ok(Expression::Not(Box::new(self.one(depth + 1)?)));
        }
        if !self.takes("(") {
            return self.test();
        }
        let inner = self.any(depth + 1)?;
        if self.takes(")") { Ok(inner) } else { Err(self.wanted("`)`", "every `(` needs its `)`")) }
    }

    fn test(&mut self) -> Result<Expression, Fault> {
        let column = self.column()?;
        let field = self.schema.field(column);
        let sign = self.word();
        if let Kind::Operator(written) = sign.kind
            && let Some(sign) = Operator::read(written)
        {
            self.at += 1;
            let test = Predicate::compare(field, sign, &[self.value()?])?;
            return Ok(Expression::Predicate(column, test));
        }
        if self.takes_keyword("is") {
            let not = self.takes_keyword("not");
            if !self.takes_keyword("null") {
                return Err(self.wanted("`null`", "`is null` and `is not null` ask for missing values"));
            }
            return Ok(Expression::Predicate(column, Predicate::Null(!not)));
        }
        let not = self.takes_keyword("not");
        let verb = self.word();
        let test = if self.takes_keyword("in") {
            Predicate::compare(field, Operator::Equal, &self.list()?)?
        } else if self.takes_keyword("contains") {
            Predicate::contains(field, verb, &self.value()?)?
        } else {
            return Err(self.wanted(
                "a comparison",
                "compare with `=`, `!=`, `<`, `<=`, `>`, `>=`, `contains`, `in (…)`, `is null` or `is not null`",
            ));
        };
        let test = Expression::Predicate(column, test);
        Ok(if not { Expression::Not(Box::new(test)) } else { test })
    }

    fn column(&mut self) -> Result<usize, Fault> {
        let word = self.word();
        let (Kind::Word(name) | Kind::Column(name)) = &word.kind else {
            return Err(self.wanted("a column", "a test begins with a column: `rating >= 4`"));
        };
        let found = self.schema.fields().iter().position(|field| field.name() == name).ok_or_else(|| {
            let names: Vec<_> = self.schema.fields().iter().map(|field| field.name().as_str()).collect();
            let help = super::super::describe::known(&names);
            self.fault(&format!("there is no column `{}`", pipeline::escape::shown(name, 80)), Some(&help))
        })?;
        self.at += 1;
        Ok(found)
    }

    fn value(&mut self) -> Result<Literal<'a>, Fault> {
        let word = self.word();
        let help = "a value is a number, a text in single quotes, `true` or `false`";
        let is = |keyword: &str| matches!(&word.kind, Kind::Word(word) if word.eq_ignore_ascii_case(keyword));
        if is("null") {
            return Err(self.fault("`null` cannot be compared", Some("write `is null` or `is not null`")));
        }
        if ["and", "or", "not"].into_iter().any(is) {
            return Err(self.wanted("a value", help));
        }
        if !matches!(word.kind, Kind::Word(_) | Kind::Column(_) | Kind::Text(_) | Kind::Number(_)) {
            return Err(self.wanted("a value", help));
        }
        self.at += 1;
        Ok(Literal::new(word))
    }

    fn list(&mut self) -> Result<Vec<Literal<'a>>, Fault> {
        if !self.takes("(") {
            return Err(self.wanted("`(`", "list the values in parentheses: `in (1, 2)`"));
        }
        let mut values = vec![self.value()?];
        while self.takes(",") {
            values.push(self.value()?);
        }
        if self.takes(")") {
            Ok(values)
        } else {
            Err(self.wanted("`)`", "list the values in parentheses: `in (1, 2)`"))
        }
    }
}

fn one_or(mut parts: Vec<Expression>, join: fn(Vec<Expression>) -> Expression) -> Expression {
    match parts.len() {
        1 => parts.remove(0),
        _ => join(parts),
    }
}
