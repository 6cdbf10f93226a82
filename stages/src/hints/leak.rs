//! Whether a hint gives an item away: it names a title, or three words of one in a row.

use std::collections::BTreeMap;

use crate::artifact::Items;

/// Words of a title that, in a row, give it away.
const IN_A_ROW: usize = 3;

/// What gives the items of a catalogue away.
pub(super) struct TitleLeaks {
    /// The words of each title; empty where an item has none.
    titles: Vec<Vec<String>>,
    /// Whole titles of two words, and every three words of a longer one, with an item that they name. A title of a single word is a word
    /// of the language, and leaks only where it is the answer.
    phrases: BTreeMap<Vec<String>, u32>,
}

impl TitleLeaks {
    /// Of catalogues without titles nothing can be given away.
    pub fn of(items: &Items) -> Self {
        let titles: Vec<Vec<String>> = items.title.iter().map(|title| words(without_year(title))).collect();
        let mut phrases = BTreeMap::new();
        for (item, title) in titles.iter().enumerate().filter(|(_, title)| title.len() > 1) {
            for phrase in title.windows(IN_A_ROW.min(title.len())) {
                phrases.entry(phrase.to_vec()).or_insert(item as u32);
            }
        }
        Self { titles, phrases }
    }

    /// An item that the text gives away; first `answer`, of which a title of a single word counts, too.
    pub fn find(&self, text: &str, answer: Option<u32>) -> Option<u32> {
        let text = words(text);
        let holds = |phrase: &[String]| text.windows(phrase.len()).any(|found| found == phrase);
        let own = answer.filter(|&item| {
            let title = &self.titles[item as usize];
            !title.is_empty() && title.windows(IN_A_ROW.min(title.len())).any(holds)
        });
        let other = || {
            let mut found = (2..=IN_A_ROW).flat_map(|length| text.windows(length));
            found.find_map(|phrase| self.phrases.get(phrase).copied())
        };
        own.or_else(other)
    }
}

/// Words in small letters, without punctuation.
pub(super) fn words(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect()
}

/// A title without a year in brackets at its end.
fn without_year(title: &str) -> &str {
    let title = title.trim();
    let year = title.strip_suffix(')').and_then(|rest| rest.rsplit_once('('));
    match year {
        Some((rest, year)) if year.len() == 4 && year.bytes().all(|byte| byte.is_ascii_digit()) => rest.trim(),
        _ => title,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_three_words_in_a_row_and_the_answer_itself_leak() {
        let titles = ["Heat (1995)", "Dead Man (1995)", "The Silence of the Lambs", ""];
        let items = Items {
            id: titles.map(str::to_owned).to_vec(),
            title: titles.map(str::to_owned).to_vec(),
            year: vec![None; 4],
            genres: vec![vec![]; 4],
            ..Items::default()
        };
        let leaks = TitleLeaks::of(&items);
        assert_eq!(leaks.find("Prefer a dead man's story: DEAD, MAN!", None), Some(1));
        assert_eq!(leaks.find("Prefer films about silence of the mind.", None), Some(2));
        assert_eq!(leaks.find("Prefer silence of mind, and lambs.", None), None);
        assert_eq!(leaks.find("Turn up the heat.", None), None, "a word of the language");
        assert_eq!(leaks.find("Turn up the heat.", Some(0)), Some(0), "but here it is the answer");
        assert_eq!(leaks.find("1995 was good.", Some(0)), None);
        assert_eq!((leaks.find("", Some(3)), leaks.find("Anything.", Some(3))), (None, None));
    }
}
