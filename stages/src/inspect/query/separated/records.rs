//! Separated text cut into records of fields, as RFC 4180 has it: a quote opens a quoted field only as its first character; in it a quote
//! is doubled, and neither separators nor ends of lines have an effect. Anywhere else it is an ordinary character.

/// How a text is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    pub separator: u8,
    /// Whether fields may be quoted.
    pub quotes: bool,
}

/// Where a field stands in its record; the quotes around it are outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field {
    from: usize,
    to: usize,
    pub quoted: bool,
}

/// Text behind the closing quote of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Behind;

impl Field {
    /// Its bytes as they are written: in quotes a quote is still doubled.
    pub fn bytes(self, record: &[u8]) -> &[u8] {
        &record[self.from..self.to]
    }

    /// What it says.
    pub fn text(self, record: &[u8]) -> String {
        let text = String::from_utf8_lossy(self.bytes(record));
        if self.quoted { text.replace("\"\"", "\"") } else { text.into_owned() }
    }
}

impl Cut {
    /// Puts the fields of the first record of `text` into `fields`, and gives its length with its end of line; `None` where the text ends
    /// before the record does. `fields` holds what came before an error, too.
    pub fn record(self, text: &[u8], fields: &mut Vec<Field>) -> Result<Option<usize>, Behind> {
        fields.clear();
        let mut from = 0;
        loop {
            if self.quotes && text.get(from) == Some(&b'"') {
                let Some(to) = closing(text, from + 1) else { return Ok(None) };
                fields.push(Field { from: from + 1, to, quoted: true });
                match text[to + 1..] {
                    [b'\n', ..] => return Ok(Some(to + 2)),
                    [b'\r', b'\n', ..] => return Ok(Some(to + 3)),
                    [] | [b'\r'] => return Ok(None),
                    [next, ..] if next == self.separator => from = to + 2,
                    _ => return Err(Behind),
                }
                continue;
            }
            let is_end = |&byte: &u8| byte == self.separator || byte == b'\n';
            let Some(length) = text[from..].iter().position(is_end) else { return Ok(None) };
            let to = from + length;
            if text[to] == b'\n' {
                let to = if text[from..to].ends_with(b"\r") { to - 1 } else { to };
                fields.push(Field { from, to, quoted: false });
                return Ok(Some(from + length + 1));
            }
            fields.push(Field { from, to, quoted: false });
            from = to + 1;
        }
    }
}

/// Where the quote stands that closes a field; `None` where the text may go on with its second half.
fn closing(text: &[u8], mut from: usize) -> Option<usize> {
    loop {
        let at = from + text[from..].iter().position(|&byte| byte == b'"')?;
        if *text.get(at + 1)? != b'"' {
            return Some(at);
        }
        from = at + 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str, quotes: bool) -> Result<Option<(Vec<String>, usize)>, Behind> {
        let mut fields = Vec::new();
        let found = Cut { separator: b',', quotes }.record(text.as_bytes(), &mut fields)?;
        Ok(found.map(|length| (fields.iter().map(|field| field.text(text.as_bytes())).collect(), length)))
    }

    #[test]
    fn a_record_is_cut_with_and_without_quotes() {
        for (text, quotes, fields, length) in [
            ("a,b\nc", true, vec!["a", "b"], 4),
            ("a,b\r\nc", true, vec!["a", "b"], 5),
            ("\n", true, vec![""], 1),
            (",\n", true, vec!["", ""], 2),
            ("\"a,\n\"\"b\"\"\",c\n", true, vec!["a,\n\"b\"", "c"], 13),
            ("c,\"\"\r\n", true, vec!["c", ""], 6),
            ("12\" mix,b\n", true, vec!["12\" mix", "b"], 10),
            ("x\"\"y,b\n", true, vec!["x\"\"y", "b"], 7),
            ("\"a,b\"\n", false, vec!["\"a", "b\""], 6),
        ] {
            let (found, end) = cut(text, quotes).unwrap().unwrap();
            assert_eq!((found, end), (fields.into_iter().map(str::to_owned).collect(), length), "{text:?}");
        }
    }

    #[test]
    fn what_may_go_on_is_no_record_yet() {
        for text in ["", "a,b", "a,\"b", "a,\"b\"", "a,\"b\"\r", "a,\"b\"\"", "a\r"] {
            assert_eq!(cut(text, true), Ok(None), "{text:?}");
        }
        for text in ["\"a\"b,c\n", "\"a\" ,c\n", "a,\"b\"c\n"] {
            assert_eq!(cut(text, true), Err(Behind), "{text:?}");
        }
    }
}
