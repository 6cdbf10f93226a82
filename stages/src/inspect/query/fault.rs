//! What is wrong with a query, in words for the person who wrote it: the place, the cause and what there is instead.

use anyhow::Error;
use pipeline::UsageError;
use pipeline::diagnostic::nearest;
use polars::prelude::{PolarsError, Schema};
use sqlparser::parser::ParserError;
use sqlparser::tokenizer::{Location, Span};

use super::super::text_output::known;

/// What is wrong with a query, and where; a place is empty where nobody knows it.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub at: Span,
    pub message: String,
    pub help: String,
}

/// A query as it was written, for its errors.
#[derive(Clone, Copy)]
pub(super) struct Written<'a> {
    /// `filter` or `query`.
    pub noun: &'a str,
    pub text: &'a str,
    /// Of the table `self`.
    pub schema: &'a Schema,
}

/// What to read where the grammar is not clear.
const GRAMMAR: &str = "`apprentice inspect --help` shows how one is written; a text stands in single quotes, a column whose name is \
                       not a word in double quotes";

impl Written<'_> {
    /// The error with the line and a caret under the place.
    pub fn error(&self, fault: &Fault) -> Error {
        let Fault { at, message, help } = fault;
        let place = match self.text.split('\n').nth((at.start.line as usize).wrapping_sub(1)) {
            Some(line) => {
                // One column a character, so that the caret stands where it should.
                let line: String = line.chars().map(|c| if pipeline::escape::is_unsafe(c) { ' ' } else { c }).collect();
                let from = (at.start.column as usize).saturating_sub(1);
                let to = if at.end.line == at.start.line { at.end.column as usize - 1 } else { line.chars().count() };
                format!("\n  {line}\n  {}{}", " ".repeat(from), "^".repeat(to.saturating_sub(from).max(1)))
            }
            None => String::new(),
        };
        UsageError(format!("invalid {}: {message}{place}\nhelp: {help}", self.noun)).into()
    }

    /// A table that is not there.
    pub fn no_table(&self, name: &str, at: Span) -> Fault {
        let message = format!("there is no table `{}`", pipeline::escape::shown(name, 80));
        Fault { at, message, help: format!("the table is called `self`; {}", self.columns()) }
    }

    /// What the parser did not understand.
    pub fn unparsed(&self, error: &ParserError) -> Fault {
        let text = match error {
            ParserError::TokenizerError(text) | ParserError::ParserError(text) => text.as_str(),
            ParserError::RecursionLimitExceeded => "it is nested deeper than 50 levels",
        };
        let (message, at) = match text.rsplit_once(" at Line: ") {
            Some((message, place)) => (message, location(place)),
            None => (text, None),
        };
        let message = match message.strip_prefix("Expected: ").and_then(|rest| rest.rsplit_once(", found: ")) {
            Some((wanted, "EOF")) => format!("expected {wanted}, found the end"),
            Some((wanted, found)) => format!("expected {wanted}, found `{}`", pipeline::escape::shown(found, 80)),
            None => pipeline::escape::shown(message, 200),
        };
        let start = at.unwrap_or_else(|| self.end());
        let rest = self.text.split('\n').nth(start.line as usize - 1).unwrap_or_default().chars();
        let word = rest.skip(start.column as usize - 1).take_while(|letter| letter.is_alphanumeric()).count().max(1);
        let at = Span::new(start, Location::new(start.line, start.column + word as u64));
        Fault { at, message, help: GRAMMAR.into() }
    }

    /// What polars refuses in a query that is well formed.
    pub fn refused(&self, error: &PolarsError) -> Fault {
        let text = root(error).to_string();
        let text = text.lines().next().unwrap_or_default();
        let named = quoted(text).filter(|name| !name.is_empty());
        let at = named.map_or_else(Span::empty, |name| self.first(name));
        match (root(error), named) {
            (PolarsError::Duplicate(_), named) => {
                let name = named.map_or_else(String::new, |name| format!(": `{}`", pipeline::escape::shown(name, 80)));
                let help = "name each with AS, as in `count(*) AS n`".into();
                Fault { at, message: format!("two columns of the answer have the same name{name}"), help }
            }
            (PolarsError::ColumnNotFound(_), Some(name)) => self.no_column(name, at),
            (_, Some(name)) if text.starts_with("no table or alias") => self.no_table(name, at),
            (_, Some(name)) if text.starts_with("no column named") || text.starts_with("no table or struct column") => {
                self.no_column(name, at)
            }
            _ => Fault { at, message: pipeline::escape::shown(text, 300), help: self.types() },
        }
    }

    /// A column that is not there.
    pub fn no_column(&self, name: &str, at: Span) -> Fault {
        let near = nearest(name, self.schema.iter_names().map(|name| name.as_str()));
        let near =
            near.map_or_else(String::new, |near| format!("; did you mean `{}`?", pipeline::escape::shown(near, 80)));
        Fault {
            at,
            message: format!("there is no column `{}`", pipeline::escape::shown(name, 80)),
            help: self.columns() + &near,
        }
    }

    fn columns(&self) -> String {
        known(&self.schema.iter_names().map(|name| name.as_str()).collect::<Vec<_>>())
    }

    /// The columns with their types, where a type may be what is wrong.
    fn types(&self) -> String {
        let named = self.schema.iter().filter(|(name, _)| self.text.contains(name.as_str()));
        let types: Vec<_> =
            named.map(|(name, kind)| format!("{} is {kind}", pipeline::escape::shown(name, 80))).take(8).collect();
        if types.is_empty() { self.columns() } else { types.join(", ") }
    }

    /// Where a word first stands in the text.
    fn first(&self, word: &str) -> Span {
        for (line, text) in self.text.lines().enumerate() {
            let is_part = |letter: Option<char>| letter.is_some_and(|letter| letter.is_alphanumeric() || letter == '_');
            let whole = |&(at, _): &(usize, &str)| {
                !is_part(text[..at].chars().next_back()) && !is_part(text[at + word.len()..].chars().next())
            };
            if let Some((at, _)) = text.match_indices(word).find(whole) {
                let column = text[..at].chars().count() as u64 + 1;
                let place = |column| Location::new(line as u64 + 1, column);
                return Span::new(place(column), place(column + word.chars().count() as u64));
            }
        }
        Span::empty()
    }

    /// Behind the last character.
    fn end(&self) -> Location {
        let lines = self.text.split('\n').count();
        Location::new(lines as u64, self.text.split('\n').next_back().unwrap_or_default().chars().count() as u64 + 1)
    }
}

/// The error inside those that only say in which step of a plan it happened.
pub(super) fn root(error: &PolarsError) -> &PolarsError {
    match error {
        PolarsError::Context { error, .. } | PolarsError::ExprContext { error, .. } => root(error),
        other => other,
    }
}

/// The first name in quotes.
fn quoted(text: &str) -> Option<&str> {
    let from = text.find(['"', '\'', '`'])?;
    let rest = &text[from + 1..];
    rest.find(&text[from..=from]).map(|to| &rest[..to])
}

/// `1, Column: 8`.
fn location(place: &str) -> Option<Location> {
    let (line, column) = place.split_once(", Column: ")?;
    Some(Location::new(line.parse().ok()?, column.trim().parse().ok()?))
}
