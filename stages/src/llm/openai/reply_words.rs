//! Splits a reply into words and finds those that may be labels: `B` and `2` are words, whatever punctuation surrounds them.
//!
//! Full-width characters count as ordinary ones, and a script without spaces ends a Latin word. Positions are those of the
//! original text.

/// A text as words and the gaps between them.
pub(super) struct Text {
    pub chars: Vec<char>,
    /// The byte at which each character begins.
    bytes: Vec<usize>,
    /// Where each word begins and ends among the characters.
    pub words: Vec<(usize, usize)>,
}

/// Scripts without spaces: their characters do not continue a Latin word.
fn unspaced(c: char) -> bool {
    c >= '\u{2e80}'
}

/// Full-width characters as the ordinary ones.
pub(super) fn fold(c: char) -> char {
    match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        '\u{3000}' => ' ',
        _ => c,
    }
}

pub(super) fn lower(c: char) -> char {
    c.to_lowercase().next().unwrap_or(c)
}

impl Text {
    pub fn new(text: &str) -> Self {
        let (bytes, chars): (Vec<usize>, Vec<char>) = text.char_indices().map(|(at, c)| (at, fold(c))).unzip();
        let mut words: Vec<(usize, usize)> = Vec::new();
        for (at, &c) in chars.iter().enumerate().filter(|(_, c)| c.is_alphanumeric()) {
            match words.last_mut() {
                Some((_, end)) if *end == at && unspaced(chars[at - 1]) == unspaced(c) => *end = at + 1,
                _ => words.push((at, at + 1)),
            }
        }
        Self { chars, bytes, words }
    }

    pub fn word(&self, word: usize) -> String {
        self.words.get(word).map_or_else(String::new, |&(from, to)| self.chars[from..to].iter().collect())
    }

    pub fn low(&self, word: usize) -> String {
        self.word(word).to_lowercase()
    }

    /// The gap before a word, or after the last one.
    pub fn gap(&self, before: usize) -> &[char] {
        let from = if before == 0 { 0 } else { self.words[before - 1].1 };
        let to = self.words.get(before).map_or(self.chars.len(), |word| word.0);
        &self.chars[from..to]
    }

    pub fn spaces_only(&self, before: usize) -> bool {
        let gap = self.gap(before);
        !gap.is_empty() && gap.iter().all(|&c| c == ' ' || c == '\t')
    }

    /// Whether a word is joined to the next one: `N/A`, `4.5`, `B-movie`.
    pub fn glued(&self, before: usize) -> bool {
        let gap = self.gap(before);
        0 < before && before < self.words.len() && !gap.is_empty() && gap.iter().all(|c| "-/'’.,:&+_@".contains(*c))
    }

    pub fn begins_large(&self, word: usize) -> bool {
        self.words.get(word).is_some_and(|&(from, _)| self.chars[from].is_uppercase())
    }

    /// The option whose letter or number a word is.
    pub fn label(&self, word: usize, options: &[String]) -> Option<usize> {
        let &(from, to) = self.words.get(word)?;
        let option = match &self.chars[from..to] {
            [c] if c.is_ascii_alphabetic() => usize::from(c.to_ascii_uppercase() as u8 - b'A'),
            digits if digits.len() < 4 && digits.iter().all(char::is_ascii_digit) => {
                self.word(word).parse::<usize>().ok()?.checked_sub(1)?
            }
            _ => return None,
        };
        (option < options.len()).then_some(option)
    }

    pub fn is_small(&self, word: usize) -> bool {
        self.words.get(word).is_some_and(|&(from, _)| self.chars[from].is_lowercase())
    }

    pub fn at(&self, word: usize) -> Option<usize> {
        self.words.get(word).map(|&(from, _)| self.bytes[from])
    }

    /// Every word that could be a label.
    pub fn labels(&self, options: &[String]) -> Vec<(usize, usize)> {
        let label = |word| Some((self.label(word, options)?, self.at(word)?));
        (0..self.words.len()).filter_map(label).collect()
    }

    /// Whether a stretch is not a part of longer words.
    pub fn apart(&self, from: usize, to: usize) -> bool {
        let joins = |a: char, b: char| a.is_alphanumeric() && b.is_alphanumeric() && !unspaced(a) && !unspaced(b);
        let before = from == 0 || !joins(self.chars[from - 1], self.chars[from]);
        before && (to == self.chars.len() || to == 0 || !joins(self.chars[to - 1], self.chars[to]))
    }

    /// The option whose title begins at a word.
    pub fn title_at(&self, word: usize, options: &[String]) -> Option<usize> {
        let &(from, _) = self.words.get(word)?;
        let rest: Vec<char> = self.chars[from..].iter().copied().map(lower).collect();
        let fits = |title: &[char]| {
            let small: Vec<char> = title.iter().copied().map(lower).collect();
            rest.starts_with(&small) && self.apart(from, from + small.len())
        };
        let titles = titles(options);
        titles.iter().filter(|(_, title)| fits(title)).max_by_key(|(_, title)| title.len()).map(|(option, _)| *option)
    }
}

/// The titles of options, also without the year in brackets where they stay unique.
pub(super) fn titles(options: &[String]) -> Vec<(usize, Vec<char>)> {
    let folded: Vec<Vec<char>> = options.iter().map(|title| title.trim().chars().map(fold).collect()).collect();
    let bare: Vec<Option<Vec<char>>> = folded.iter().map(|title| without_year(title)).collect();
    let mut titles: Vec<(usize, Vec<char>)> = folded.iter().cloned().enumerate().collect();
    for (option, bare_title) in bare.iter().enumerate() {
        let Some(title) = bare_title else { continue };
        let others = folded.iter().chain(bare.iter().flatten()).filter(|other| *other == title).count();
        if others == 1 {
            titles.push((option, title.clone()));
        }
    }
    titles.retain(|(_, title)| title.iter().any(|c| c.is_alphanumeric()));
    titles
}

fn without_year(title: &[char]) -> Option<Vec<char>> {
    let (name, year) = title.split_at_checked(title.len().checked_sub(7)?)?;
    let is_year = matches!(year, [' ', '(', digits @ .., ')'] if digits.iter().all(char::is_ascii_digit));
    (is_year && !name.is_empty()).then(|| name.to_vec())
}
