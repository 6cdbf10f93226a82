//! Lists of texts as Python prints them: `['Half-Life', "Tom Clancy's The Division"]`. Public datasets and transcripts hold
//! them as text. Left out: everything that is no list of texts.

use anyhow::{Context as _, Result, bail, ensure};

/// The texts of the list at the beginning of `text`, and what follows it.
///
/// # Errors
/// Where it is no such list, with the place (in characters, from 1).
pub(super) fn python_list(text: &str) -> Result<(Vec<String>, &str)> {
    let mut reader = Reader { text, at: 0 };
    ensure!(reader.take() == Some('['), "found {:?}, wanted a list", text.chars().next());
    let mut list = Vec::new();
    loop {
        reader.blanks();
        match reader.take() {
            Some(']') => return Ok((list, &text[reader.at..])),
            Some(quote @ ('\'' | '"')) => list.push(reader.quoted(quote)?),
            found => bail!("character {}: found {found:?}, wanted a quoted text", reader.place()),
        }
        reader.blanks();
        match reader.take() {
            Some(',') => {}
            Some(']') => return Ok((list, &text[reader.at..])),
            found => bail!("character {}: found {found:?}, wanted `,` or `]`", reader.place()),
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    /// Bytes read.
    at: usize,
}

impl Reader<'_> {
    fn take(&mut self) -> Option<char> {
        let next = self.text[self.at..].chars().next()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn blanks(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    fn place(&self) -> usize {
        self.text[..self.at].chars().count()
    }

    /// The rest of a text up to its closing quote.
    fn quoted(&mut self, quote: char) -> Result<String> {
        let mut out = String::new();
        loop {
            let next = self.take().context("a text without its closing quote")?;
            match next {
                '\\' => out.extend(self.escape()?),
                next if next == quote => return Ok(out),
                next => out.push(next),
            }
        }
    }

    fn escape(&mut self) -> Result<Option<char>> {
        let kind = self.take().context("an escape without its character")?;
        let digits = match kind {
            'n' => return Ok(Some('\n')),
            't' => return Ok(Some('\t')),
            'r' => return Ok(Some('\r')),
            // A line that goes on.
            '\n' => return Ok(None),
            'x' => 2,
            'u' => 4,
            'U' => 8,
            other => return Ok(Some(other)),
        };
        let hex: String = (0..digits).filter_map(|_| self.take()).collect();
        let code = u32::from_str_radix(&hex, 16).ok().and_then(char::from_u32);
        Ok(Some(code.with_context(|| format!("character {}: `\\{kind}{hex}` is no character", self.place()))?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_escapes_are_pythons() {
        let (list, rest) = python_list(r#"['a', "it's", 'b\'c\\', '\xe9\u2122\n', ] and more"#).unwrap();
        assert_eq!(list, ["a", "it's", "b'c\\", "é™\n"]);
        assert_eq!(rest, " and more");
        assert_eq!(python_list("[]").unwrap(), (vec![], ""));
    }

    #[test]
    fn what_is_no_list_is_named_by_its_place() {
        for (text, wanted) in [
            ("x", "wanted a list"),
            ("[1]", "character 2: found Some('1'), wanted a quoted text"),
            ("['a' 'b']", "wanted `,` or `]`"),
            ("['a", "without its closing quote"),
            ("['a',", "wanted a quoted text"),
            (r"['\ud800']", "is no character"),
        ] {
            let error = python_list(text).unwrap_err().to_string();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }
}
