//! Text from a file made safe and short enough for where it goes: a terminal, Markdown, a CSV file.

use std::borrow::Cow;
use std::io::Write;

use anyhow::Result;
pub(super) use pipeline::escape::{is_unsafe, json, shown};
use serde::Serialize;

/// Longest text, in characters, that goes into one cell of a table on the screen.
pub(super) const CELL: usize = 40;

/// The first `limit` characters of `text`, with `…` when that is not all of it; nothing is escaped.
pub(super) fn cut(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A text that is safe for a terminal, as Markdown shows it letter for letter, also inside a table.
pub(super) fn markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '~' | '&' | '#' | '$') {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

/// A field of a CSV file (RFC 4180): quoted where it has to be, so that a reader gets the text back. Only what a terminal
/// may obey is written as an escape; line ends and tabs stay, inside the quotes.
pub(super) fn csv(text: &str) -> String {
    let safe: Cow<'_, str> = if text.chars().any(|c| is_unsafe(c) && !is_space(c)) {
        text.chars()
            .map(|c| if is_unsafe(c) && !is_space(c) { shown(&c.to_string(), 1) } else { c.to_string() })
            .collect()
    } else {
        text.into()
    };
    // An empty text is quoted, because an empty field is a missing value.
    if safe.is_empty() || safe.contains([',', '"', '\r', '\n']) || safe.starts_with(' ') || safe.ends_with(' ') {
        return format!("\"{}\"", safe.replace('"', "\"\""));
    }
    safe.into_owned()
}

fn is_space(character: char) -> bool {
    matches!(character, '\n' | '\r' | '\t')
}

pub(super) fn write_json(value: &impl Serialize, out: &mut dyn Write) -> Result<()> {
    Ok(writeln!(out, "{}", json(&serde_json::to_string_pretty(value)?))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_cut_on_a_character() {
        assert_eq!(cut("äöü", 2), "äö…");
        assert_eq!(cut("äö", 2), "äö");
    }

    #[test]
    fn markdown_shows_every_letter() {
        assert_eq!(markdown("a|b_*`<br>"), r"a\|b\_\*\`\<br\>");
        assert_eq!(markdown(&shown("\u{1b}", 9)), r"\\u{1b}");
    }

    #[test]
    fn csv_is_quoted_where_it_has_to_be() {
        let fields = ["plain", "a,b", "say \"no\"", "two\nlines", "", "esc\u{1b}[2J", " led"].map(csv);
        let wanted = ["plain", "\"a,b\"", "\"say \"\"no\"\"\"", "\"two\nlines\"", "\"\"", r"esc\u{1b}[2J", "\" led\""];
        assert_eq!(fields, wanted);
    }
}
