//! Finds the tokens of a vocabulary that a text names by their spelling, such as `</s>`.

use std::collections::{BTreeMap, HashMap};

/// A part of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part<'t> {
    /// Not empty.
    Text(&'t str),
    Token(u32),
}

/// Tokens by their spelling. Longer ones are found before shorter ones, wherever in the text they stand, as llama.cpp does.
pub(super) struct NamedTokens {
    /// By length in bytes, with the bytes with which the tokens of that length begin.
    by_length: BTreeMap<usize, (HashMap<String, u32>, [bool; 256])>,
}

impl NamedTokens {
    pub(super) fn new<'a>(tokens: impl Iterator<Item = (&'a String, u32)>) -> Self {
        let mut by_length = BTreeMap::new();
        for (token, id) in tokens {
            let Some(first) = token.bytes().next() else { continue };
            let (ids, begins) = by_length.entry(token.len()).or_insert_with(|| (HashMap::new(), [false; 256]));
            begins[usize::from(first)] = true;
            ids.insert(token.clone(), id);
        }
        Self { by_length }
    }

    pub(super) fn split<'t>(&self, text: &'t str) -> Vec<Part<'t>> {
        let mut parts = Vec::new();
        if !text.is_empty() {
            parts.push(Part::Text(text));
        }
        for (&length, (ids, begins)) in self.by_length.iter().rev() {
            let mut finer = Vec::with_capacity(parts.len());
            for part in parts {
                let Part::Text(text) = part else {
                    finer.push(part);
                    continue;
                };
                let (mut from, mut at) = (0, 0);
                while at + length <= text.len() {
                    let found = match begins[usize::from(text.as_bytes()[at])] {
                        true => text.get(at..at + length).and_then(|spelling| ids.get(spelling)),
                        false => None,
                    };
                    let Some(&id) = found else {
                        at += 1;
                        continue;
                    };
                    if from < at {
                        finer.push(Part::Text(&text[from..at]));
                    }
                    finer.push(Part::Token(id));
                    at += length;
                    from = at;
                }
                if from < text.len() {
                    finer.push(Part::Text(&text[from..]));
                }
            }
            parts = finer;
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longer_tokens_are_found_first_and_the_rest_is_text() {
        let tokens = ["", "\n", "\n\n", "<s>", "é<", "<s>x"].map(str::to_owned);
        let named = NamedTokens::new(tokens.iter().zip(0..));
        assert_eq!(named.split(""), []);
        assert_eq!(named.split("plain é"), [Part::Text("plain é")]);
        assert_eq!(named.split("\n\n\n"), [Part::Token(2), Part::Token(1)]);
        assert_eq!(
            named.split("a<s>b<s>xc"),
            [Part::Text("a"), Part::Token(3), Part::Text("b"), Part::Token(5), Part::Text("c")]
        );
        // Of two that overlap, the longer, not the first.
        assert_eq!(named.split("é<s>x"), [Part::Text("é"), Part::Token(5)]);
    }
}
