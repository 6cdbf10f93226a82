//! Python literals, one per line: `{'user': u'x', 'hours': 1.5, 'early': False}`.
//!
//! Converted to JSON: dicts with text as keys, lists and tuples, texts (`u''` and raw ones, all escapes but
//! `\N{…}`), numbers, `True`, `False`, `None`. JSON as Python writes it (`NaN`) is read, too: NaN is a missing value.
//! Left out: bytes, sets, complex numbers, sums of literals.

use serde_json::{Map, Number, Value};

/// Maximum nesting of lists and dicts; the parser is recursive.
const MAX_DEPTH: usize = 64;

/// The value of a line; `None` where it is not a literal.
pub(in crate::ingest) fn parse(text: &str) -> Option<Value> {
    let mut reader = Reader { rest: text };
    let value = reader.value(0)?;
    reader.skip();
    reader.rest.is_empty().then_some(value)
}

/// The texts of a list of texts; `None` where it is not such a list.
pub(in crate::ingest) fn texts(text: &str) -> Option<Vec<String>> {
    let Value::Array(values) = parse(text)? else { return None };
    values.into_iter().map(|value| if let Value::String(text) = value { Some(text) } else { None }).collect()
}

struct Reader<'t> {
    rest: &'t str,
}

impl<'t> Reader<'t> {
    fn skip(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// Consumes the next character if it is this one.
    fn takes(&mut self, character: char) -> bool {
        self.skip();
        let rest = self.rest.strip_prefix(character);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > MAX_DEPTH {
            return None;
        }
        self.skip();
        match self.rest.chars().next()? {
            '{' => {
                self.takes('{');
                let mut map = Map::new();
                while !self.takes('}') {
                    let Value::String(key) = self.value(depth + 1)? else { return None };
                    self.takes(':').then_some(())?;
                    // Python takes the last of two values in silence.
                    if map.insert(key, self.value(depth + 1)?).is_some() {
                        return None;
                    }
                    self.ends_or_goes_on('}')?;
                }
                Some(Value::Object(map))
            }
            open @ ('[' | '(') => {
                self.takes(open);
                let close = if open == '[' { ']' } else { ')' };
                let mut list = Vec::new();
                while !self.takes(close) {
                    list.push(self.value(depth + 1)?);
                    self.ends_or_goes_on(close)?;
                }
                Some(Value::Array(list))
            }
            '\'' | '"' => self.text(false),
            _ => self.word(),
        }
    }

    /// After a member comes a comma, or the end, which is left.
    fn ends_or_goes_on(&mut self, close: char) -> Option<()> {
        (self.takes(',') || self.rest.starts_with(close)).then_some(())
    }

    fn word(&mut self) -> Option<Value> {
        let end =
            self.rest.find(|c: char| !(c.is_ascii_alphanumeric() || "+-._".contains(c))).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        if rest.starts_with(['\'', '"']) {
            return match word {
                "u" | "U" => self.text(false),
                "r" | "R" => self.text(true),
                _ => None,
            };
        }
        match word {
            // The latter of each are those of JSON, which Python writes with numbers that no JSON has.
            "True" | "true" => Some(Value::Bool(true)),
            "False" | "false" => Some(Value::Bool(false)),
            "None" | "null" | "NaN" | "Infinity" | "-Infinity" => Some(Value::Null),
            _ => {
                // Python 2 marks long numbers.
                let number = word.strip_suffix('L').unwrap_or(word);
                let whole = number.parse::<i64>().ok().map(Number::from);
                whole.or_else(|| Number::from_f64(number.parse().ok()?)).map(Value::Number)
            }
        }
    }

    fn text(&mut self, raw: bool) -> Option<Value> {
        let mut characters = self.rest.chars();
        let quote = characters.next()?;
        let mut text = String::new();
        loop {
            match characters.next()? {
                character if character == quote => break,
                '\\' if raw => text.extend(['\\', characters.next()?]),
                '\\' => escaped(&mut characters, &mut text)?,
                other => text.push(other),
            }
        }
        self.rest = characters.as_str();
        Some(Value::String(text))
    }
}

/// What follows a backslash.
fn escaped(characters: &mut std::str::Chars<'_>, text: &mut String) -> Option<()> {
    let character = match characters.next()? {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'v' => '\u{b}',
        same @ ('\\' | '\'' | '"' | '/') => same,
        'x' => coded(characters, 2)?,
        'u' => coded(characters, 4)?,
        'U' => coded(characters, 8)?,
        first @ '0'..='7' => {
            let rest = characters.as_str().bytes().take(2).take_while(|byte| (b'0'..=b'7').contains(byte)).count();
            let octal: String = std::iter::once(first).chain(characters.take(rest)).collect();
            char::from_u32(u32::from_str_radix(&octal, 8).ok()?)?
        }
        other => {
            text.push('\\');
            other
        }
    };
    text.push(character);
    Some(())
}

/// The character of a code of so many hexadecimal digits.
fn coded(characters: &mut std::str::Chars<'_>, digits: usize) -> Option<char> {
    let first = hex(characters, digits)?;
    // Python 2 writes what lies beyond 16 bits as two halves.
    let code = if digits == 4 && (0xd800..0xdc00).contains(&first) && characters.as_str().starts_with("\\u") {
        characters.nth(1);
        let second = hex(characters, 4)?.checked_sub(0xdc00)?;
        0x10000 + ((first - 0xd800) << 10) + second
    } else {
        first
    };
    // A lone surrogate has no character.
    Some(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER))
}

fn hex(characters: &mut std::str::Chars<'_>, digits: usize) -> Option<u32> {
    let text = characters.as_str().get(..digits).filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    characters.nth(digits - 1);
    u32::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn literals_become_the_json_that_says_the_same() {
        let line = r#"{u'user': u'Caf\xe9 "x"', 'hours': 1.5, "n": -3, 'early': False, 'more': [(1, 2,), [], {}, None, True], 'l': 7L}"#;
        let wanted = json!({ "user": "Caf\u{e9} \"x\"", "hours": 1.5, "n": -3, "early": false, "more": [[1, 2], [], {}, null, true], "l": 7 });
        assert_eq!(parse(line), Some(wanted));
        let text = r#"'a\n\t\\\'\"\101\u20ac\U0001f600\ud83d\ude00\d'"#;
        assert_eq!(parse(text), Some(json!("a\n\t\\'\"A\u{20ac}\u{1f600}\u{1f600}\\d")));
        assert_eq!(parse(r"r'a\n'"), Some(json!(r"a\n")));
        assert_eq!(parse(r"'\ud83d'"), Some(json!("\u{fffd}")));
    }

    /// pandas-dev/pandas#30716: Python's own JSON is not everybody's.
    #[test]
    fn what_python_calls_json_is_read() {
        let line = r#"{"id": "a\/b", "price": NaN, "far": [Infinity, -Infinity], "ok": true, "no": null, "n": 1.5}"#;
        let wanted = json!({ "id": "a/b", "price": null, "far": [null, null], "ok": true, "no": null, "n": 1.5 });
        assert_eq!(parse(line), Some(wanted));
    }

    #[test]
    fn what_is_none_is_refused() {
        let deep = "[".repeat(1000);
        for text in
            ["", "{", "{'a'}", "{'a': 1", "{1: 2}", "[1 2]", "'a", "nan", "b'x'", "1 2", r"'\xz1'", "import os", &deep]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
