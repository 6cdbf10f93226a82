//! The lexer of filters: tokens, each with its place.

use super::Fault;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// A column or a keyword.
    Word(String),
    /// A column in double quotes.
    Column(String),
    /// In single quotes.
    Text(String),
    Number(String),
    /// `=`, `<=`, `(`, `,` …
    Operator(&'static str),
    End,
}

/// A word and its place in the text, in characters.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub kind: Kind,
    pub from: usize,
    pub to: usize,
    /// As it was written.
    pub written: String,
}

/// Longer ones first.
const OPERATORS: [&str; 11] = ["<=", ">=", "<>", "!=", "==", "<", ">", "=", "(", ")", ","];

pub(super) fn read(text: &str) -> Result<Vec<Token>, Fault> {
    let letters: Vec<char> = text.chars().collect();
    let mut words = Vec::new();
    let mut at = 0;
    loop {
        while letters.get(at).is_some_and(|letter| letter.is_whitespace()) {
            at += 1;
        }
        let Some(&first) = letters.get(at) else { break };
        let (kind, to) = match first {
            '\'' => quoted(&letters, at).map(|(text, to)| (Kind::Text(text), to))?,
            '"' => quoted(&letters, at).map(|(text, to)| (Kind::Column(text), to))?,
            _ if starts_number(&letters, at) => {
                let to = end(&letters, at + 1, |at, letter| {
                    letter.is_ascii_alphanumeric()
                        || letter == '.'
                        || (matches!(letter, '+' | '-') && matches!(letters[at - 1], 'e' | 'E'))
                });
                (Kind::Number(letters[at..to].iter().collect()), to)
            }
            _ if first.is_alphabetic() || first == '_' => {
                let to = end(&letters, at, |_, letter| letter.is_alphanumeric() || matches!(letter, '_' | '.'));
                (Kind::Word(letters[at..to].iter().collect()), to)
            }
            _ => sign(&letters, at)?,
        };
        words.push(Token { kind, from: at, to, written: letters[at..to].iter().collect() });
        at = to;
    }
    words.push(Token { kind: Kind::End, from: letters.len(), to: letters.len(), written: String::new() });
    Ok(words)
}

fn starts_number(letters: &[char], at: usize) -> bool {
    let digit = |at: usize| letters.get(at).is_some_and(char::is_ascii_digit);
    digit(at) || (matches!(letters[at], '-' | '+' | '.') && (digit(at + 1) || letters.get(at + 1) == Some(&'.')))
}

fn end(letters: &[char], from: usize, belongs: impl Fn(usize, char) -> bool) -> usize {
    (from..letters.len()).find(|&at| !belongs(at, letters[at])).unwrap_or(letters.len())
}

/// A quote inside is written twice.
fn quoted(letters: &[char], from: usize) -> Result<(String, usize), Fault> {
    let quote = letters[from];
    let mut text = String::new();
    let mut at = from + 1;
    while let Some(&letter) = letters.get(at) {
        if letter != quote {
            text.push(letter);
            at += 1;
        } else if letters.get(at + 1) == Some(&quote) {
            text.push(quote);
            at += 2;
        } else {
            return Ok((text, at + 1));
        }
    }
    Err(Fault {
        from,
        to: letters.len(),
        message: format!("unterminated text: the quote {quote} is not closed"),
        help: Some(format!("a quote inside is written twice: {quote}{quote}")),
    })
}

fn sign(letters: &[char], at: usize) -> Result<(Kind, usize), Fault> {
    let is = |sign: &&str| sign.chars().enumerate().all(|(place, wanted)| letters.get(at + place) == Some(&wanted));
    match OPERATORS.into_iter().find(is) {
        Some("==") => Ok((Kind::Operator("="), at + 2)),
        Some("<>") => Ok((Kind::Operator("!="), at + 2)),
        Some(sign) => Ok((Kind::Operator(sign), at + sign.len())),
        None => Err(Fault {
            from: at,
            to: at + 1,
            message: format!("unexpected character `{}`", letters[at].escape_debug()),
            help: Some(
                "join tests with `and` and `or`; a column whose name is not a word stands in double quotes".into(),
            ),
        }),
    }
}
