//! Words of the page that lead to their meaning: each term at its first use, so that no user meets one that is not explained.

use std::collections::BTreeSet;

use minijinja::{HtmlEscape, Value};

use crate::report::render::glossary::{self, TERMS};
use crate::report::table::row::Row;

/// A word that has an entry under "How to read this".
struct Word<'a> {
    word: &'a str,
    /// The entry's address.
    id: String,
    text: &'a str,
}

/// Links the first use of each word, in the order in which texts are given to it.
pub(in crate::report) struct Linker<'a> {
    /// Longest first: `popular quit-aware` before `non-conflicting`.
    words: Vec<Word<'a>>,
    used: BTreeSet<String>,
    /// Names of rows that are read from right to left.
    from_right: Vec<&'a str>,
}

/// The address of a row's entry.
pub(in crate::report) fn row_id(place: usize) -> String {
    format!("row-{place}")
}

/// The address of a term's entry.
pub(in crate::report) fn term_id(id: &str) -> String {
    format!("term-{id}")
}

impl<'a> Linker<'a> {
    /// Knows all terms, and the rows of this table that have an entry.
    pub fn new(rows: &'a [Row]) -> Self {
        let terms = TERMS
            .iter()
            .flat_map(|term| term.words.iter().map(|&word| Word { word, id: term_id(term.id), text: term.text }));
        let first = |(place, row): (usize, &'a Row)| {
            Some(Word { word: &row.name, id: row_id(place), text: glossary::meaning(row)? })
        };
        let mut words: Vec<Word> = rows.iter().enumerate().filter_map(first).chain(terms).collect();
        words.sort_by_key(|word| std::cmp::Reverse(word.word.len()));
        let names = rows.iter().map(|row| row.name.as_str());
        Self {
            words,
            used: BTreeSet::new(),
            from_right: names.filter(|name| name.contains(reads_from_right)).collect(),
        }
    }

    /// The text as HTML, with a link at the first use of each word that had none before.
    pub fn text(&mut self, text: &str) -> Value {
        // ASCII alone changes its case without changing its length.
        let lower = text.to_ascii_lowercase();
        let mut found: Vec<(usize, &Word)> = Vec::new();
        for word in &self.words {
            let wanted = word.word.to_ascii_lowercase();
            for (at, _) in lower.match_indices(&wanted) {
                // What stands in a longer word is no word of its own, also where the longer one is not linked again.
                let free =
                    found.iter().all(|(from, other)| at + wanted.len() <= *from || from + other.word.len() <= at);
                if free && stands_alone(text, at, wanted.len()) {
                    found.push((at, word));
                }
            }
        }
        found.sort_by_key(|(at, _)| *at);
        let (mut out, mut from) = (String::new(), 0);
        for (at, word) in found {
            if self.used.insert(word.id.clone()) {
                let end = at + word.word.len();
                out += &self.isolated(&text[from..at]);
                out += &anchor(&word.id, word.text, &text[at..end]);
                from = end;
            }
        }
        Value::from_safe_string(as_code(&(out + &self.isolated(&text[from..]))))
    }

    /// The text as HTML in which names that are read from right to left turn nothing around them.
    fn isolated(&self, text: &str) -> String {
        let mut out = HtmlEscape(text).to_string();
        for name in &self.from_right {
            let name = HtmlEscape(name).to_string();
            out = out.replace(&name, &format!("<bdi>{name}</bdi>"));
        }
        out
    }
}

/// HTML in which what stands between two backticks is set as code. Those within a tag are left, and so is one whose other is missing or
/// within another element.
fn as_code(html: &str) -> String {
    let (mut depth, mut in_tag) = (0_i32, false);
    let mut marks: Vec<(usize, i32)> = Vec::new();
    for (at, character) in html.char_indices() {
        match character {
            '<' => {
                in_tag = true;
                depth += if html[at..].starts_with("</") { -1 } else { 1 };
            }
            '>' => in_tag = false,
            '`' if !in_tag => marks.push((at, depth)),
            _ => {}
        }
    }
    let (mut out, mut from) = (String::new(), 0);
    for pair in marks.chunks_exact(2).filter(|pair| pair[0].1 == pair[1].1) {
        for ((at, _), tag) in pair.iter().zip(["<code>", "</code>"]) {
            out += &html[from..*at];
            out += tag;
            from = at + 1;
        }
    }
    out + &html[from..]
}

/// A link to the entry of that address, which also shows when it is pointed at.
pub(in crate::report) fn anchor(id: &str, meaning: &str, label: &str) -> String {
    format!(r##"<a class="term" href="#{id}" title="{}">{}</a>"##, HtmlEscape(meaning), HtmlEscape(label))
}

/// The head of a column that has an entry.
pub(in crate::report) fn head(label: &str, id: &str) -> Value {
    let text = TERMS.iter().find(|term| term.id == id).map_or("", |term| term.text);
    Value::from_safe_string(anchor(&term_id(id), text, label))
}

/// Whether a character is of a script that is read from right to left (the blocks of Unicode that hold such).
fn reads_from_right(c: char) -> bool {
    matches!(c, '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{feff}' | '\u{10800}'..='\u{10fff}' | '\u{1e800}'..='\u{1efff}')
}

/// Whether a place in a text is a whole word.
fn stands_alone(text: &str, at: usize, length: usize) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    let end = at + length;
    text.is_char_boundary(at)
        && text.is_char_boundary(end)
        && !text[..at].chars().next_back().is_some_and(part)
        && !text[end..].chars().next().is_some_and(part)
}

#[cfg(test)]
mod tests {
    use super::Linker;
    use crate::report::fixture;

    #[test]
    fn names_between_backticks_are_code() {
        let mut linker = Linker::new(&[]);
        let mut text = |text: &str| linker.text(text).to_string();
        assert_eq!(text("Missing: `a<b` and `c`."), "Missing: <code>a&lt;b</code> and <code>c</code>.");
        assert_eq!(text("one ` alone"), "one ` alone");
        let linked = text("`seed`");
        assert!(linked.starts_with("<code><a ") && linked.ends_with("</a></code>"), "{linked}");
        assert_eq!(super::as_code("a ` b <i>c ` d</i>"), "a ` b <i>c ` d</i>");
    }

    #[test]
    fn the_first_use_of_a_term_is_linked_and_no_part_of_a_word() {
        let rows = fixture::rows(&[("popular quit-aware", true, 132.0, 0.0), ("<b>", false, 135.0, 1.0)]);
        let mut linker = Linker::new(&rows);
        let text =
            linker.text("The learned policy, <b>, returns 135.0: above popular quit-aware, and returns").to_string();
        assert!(text.contains(r##"<a class="term" href="#term-return" title="The sum of rewards"##), "{text}");
        assert_eq!(text.matches("<a ").count(), 3, "{text}");
        assert!(text.contains(r##"href="#row-0""##) && text.contains(">popular quit-aware</a>, and returns"), "{text}");
        assert!(text.contains("&lt;b&gt;") && !text.contains("<b>"), "{text}");
        // Known already, a part of another word, and one that stands in the longer word alone.
        assert_eq!(linker.text("return, judgement, reseed").to_string(), "return, judgement, reseed");
        let twice = "popular quit-aware, popular quit-aware";
        assert_eq!(linker.text(twice).to_string(), twice);
        assert!(
            linker
                .text("Privileged: é interval")
                .to_string()
                .starts_with(r##"<a class="term" href="#term-privileged""##)
        );
    }
}
