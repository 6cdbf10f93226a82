//! Text from a file made safe for a terminal.
//!
//! A title, a column name or a metadata value is somebody else's text: printed raw, it could move the cursor, change the
//! window's title or reverse the reading order. Nothing read from a file is printed without passing through here.

use std::borrow::Cow;
use std::fmt::Write;

/// Whether a terminal could take the character for a command, or show it as nothing while it changes the rest of the line.
#[must_use]
pub fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{061c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(character, '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// `text` with control characters and backslashes written as Rust escapes, cut with `…` after `limit` characters.
#[must_use]
pub fn shown(text: &str, limit: usize) -> String {
    let mut out = String::new();
    for (place, character) in text.chars().enumerate() {
        if place == limit {
            out.push('…');
            break;
        }
        match character {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            _ if is_unsafe(character) => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(character));
            }
            _ => out.push(character),
        }
    }
    out
}

/// Whether the character does harm also in a text that is laid out with line ends and tabs.
pub(crate) fn harms(character: char) -> bool {
    is_unsafe(character) && !matches!(character, '\n' | '\t')
}

/// A text of several lines, ready to be printed but for what somebody else wrote into it: what harms is a Rust escape.
pub(crate) fn lines(text: &str) -> Cow<'_, str> {
    if !text.contains(harms) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if harms(character) {
            let _ = write!(out, "{}", character.escape_unicode());
        } else {
            out.push(character);
        }
    }
    Cow::Owned(out)
}

/// JSON text in which the characters that `serde_json` leaves alone but a terminal may obey (`U+007F`, `U+009B`, …) are
/// `\uXXXX` too. Such a character can only stand inside a string, so the value stays the same.
#[must_use]
pub fn json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if is_unsafe(character) && character != '\n' {
            let _ = write!(out, "\\u{:04x}", u32::from(character));
        } else {
            out.push(character);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_and_direction_characters_never_come_through() {
        let hostile = "a\u{1b}[31m\tb\n\u{9b}c\u{202e}d\\";
        assert_eq!(shown(hostile, 99), r"a\u{1b}[31m\tb\n\u{9b}c\u{202e}d\\");
    }

    #[test]
    fn lines_keep_their_layout_and_backslashes_and_lose_what_harms() {
        assert_eq!(lines("a\tb\\\n\u{1b}[31m\u{200f}ü\r\n"), "a\tb\\\n\\u{1b}[31m\\u{200f}ü\\u{d}\n");
        assert!(matches!(lines("a\tü\n"), Cow::Borrowed(_)));
    }

    #[test]
    fn long_text_is_cut_on_a_character() {
        assert_eq!(shown("äöüß", 2), "äö…");
        assert_eq!(shown("äö", 2), "äö");
    }

    #[test]
    fn json_keeps_its_value_and_loses_its_control_characters() {
        let value = serde_json::json!({ "k\u{7f}": "a\u{9b}b\u{1b}\u{202e}" });
        let safe = json(&serde_json::to_string_pretty(&value).unwrap());
        assert!(safe.chars().all(|c| c == '\n' || !is_unsafe(c)), "{safe:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
    }
}
