//! Normalised titles: without case, accents, punctuation, trademark signs, articles and the year.
//!
//! Left out: Roman numerals beside digits (`Civilization VI` and `Civilization 6`), translations, abbreviations. Trigrams
//! cover the first; the others need embeddings.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// What of a title is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// Words of lower-case letters and digits with one space between; empty where the text holds none.
    pub text: String,
    /// The year that stood in brackets at the end, which tells films of one title apart.
    pub year: Option<i32>,
}

/// Articles that a catalogue puts last: `Piano, The`, `Misérables, Les`.
const LAST: [&str; 20] = [
    "the", "a", "an", "le", "la", "les", "l'", "un", "une", "el", "los", "las", "il", "lo", "gli", "i", "der", "die",
    "das", "den",
];
/// Articles that are dropped at the beginning. Only English ones: `Die Hard` begins with none.
const FIRST: [&str; 3] = ["the ", "a ", "an "];

/// The key of a catalogue title or of a written title.
pub(super) fn key(text: &str) -> Key {
    let (text, year) = without_year(text.trim());
    let mut lower = text.to_lowercase();
    // Catalogues that were read from pages of the web.
    for (entity, sign) in [("&amp;", "&"), ("&#39;", "'"), ("&quot;", "\""), ("&lt;", "<"), ("&gt;", ">")] {
        if lower.contains(entity) {
            lower = lower.replace(entity, sign);
        }
    }
    if let Some((rest, article)) = lower.rsplit_once(',')
        && LAST.contains(&article.trim().replace('’', "'").as_str())
    {
        let article = article.trim();
        let gap = if article.ends_with(['\'', '’']) { "" } else { " " };
        lower = format!("{article}{gap}{}", rest.trim());
    }
    // The article must be a word of its own: `A-Team` and `A.I.` begin with none.
    let plain = FIRST.iter().find_map(|article| lower.trim_start().strip_prefix(article)).unwrap_or(&lower);
    let folded = words(plain);
    // `The ★` is rather its article than nothing.
    Key { text: if folded.is_empty() { words(&lower) } else { folded }, year }
}

/// Parts `Heat (1995)`; a bare year belongs to the title (`Cricket 2007`), and so does one that is all of it.
fn without_year(text: &str) -> (&str, Option<i32>) {
    let part = || {
        let (rest, year) = text.strip_suffix([')', ']'])?.rsplit_once(['(', '['])?;
        let digits = year.len() == 4 && year.bytes().all(|byte| byte.is_ascii_digit());
        let year = digits.then(|| year.parse::<i32>().ok()).flatten()?;
        let rest = rest.trim_end();
        ((1800..2200).contains(&year) && !rest.is_empty()).then_some((rest, year))
    };
    part().map_or((text, None), |(rest, year)| (rest, Some(year)))
}

/// Folds to words of plain letters and digits.
fn words(lower: &str) -> String {
    let mut folded = String::with_capacity(lower.len());
    // A gap is written only before the next word, so that none stands at an end or beside another.
    let mut gap = false;
    for sign in lower.chars() {
        match sign {
            // Signs of trade are no part of a name; compatibility forms would spell them out (`™` as `tm`).
            '™' | '®' | '©' | '℠' => {}
            // Within a word, and written in many ways or not at all.
            '\'' | '’' | '‘' | 'ʼ' | '`' | '´' => {}
            '&' => word(&mut folded, &mut gap, true, "and"),
            '+' => word(&mut folded, &mut gap, true, "plus"),
            sign => sign.nfkd().for_each(|part| letter(&mut folded, &mut gap, part)),
        }
    }
    folded
}

/// Adds one letter of a decomposed text.
fn letter(folded: &mut String, gap: &mut bool, letter: char) {
    match letter {
        // Accents of Latin, Greek and Cyrillic.
        '\u{300}'..='\u{36f}' => {}
        // Letters that do not decompose.
        'ß' => word(folded, gap, false, "ss"),
        'æ' => word(folded, gap, false, "ae"),
        'œ' => word(folded, gap, false, "oe"),
        'ø' => word(folded, gap, false, "o"),
        'đ' | 'ð' => word(folded, gap, false, "d"),
        'ł' => word(folded, gap, false, "l"),
        'þ' => word(folded, gap, false, "th"),
        'ı' => word(folded, gap, false, "i"),
        // Vowels of many scripts are marks, not letters.
        letter if letter.is_alphanumeric() || is_combining_mark(letter) => {
            // Compatibility forms bring capitals back (`Ⅳ` as `IV`).
            letter.to_lowercase().for_each(|letter| word(folded, gap, false, letter.encode_utf8(&mut [0; 4])));
        }
        _ => *gap = true,
    }
}

/// Adds a part of a word, or a word of its own.
fn word(folded: &mut String, gap: &mut bool, own: bool, part: &str) {
    if (*gap || own) && !folded.is_empty() {
        folded.push(' ');
    }
    folded.push_str(part);
    *gap = own;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(title: &str) -> String {
        key(title).text
    }

    #[test]
    fn titles_that_people_take_for_one_have_one_key() {
        for (one, other, wanted) in [
            ("Darkest Dungeon®", "darkest dungeon", "darkest dungeon"),
            ("The Sims™ 3", "Sims 3", "sims 3"),
            ("Piano, The (1993)", "The Piano", "piano"),
            ("Close Shave, A", "a close shave.", "close shave"),
            ("Misérables, Les (1995)", "Les Miserables", "les miserables"),
            ("Avventura, L' (1960)", "L’Avventura", "lavventura"),
            ("Assassin’s Creed® Brotherhood", "Assassin's Creed: Brotherhood", "assassins creed brotherhood"),
            ("Command & Conquer", "Command and Conquer", "command and conquer"),
            ("Might &amp; Magic", "Might & Magic", "might and magic"),
            ("Assassin&#39;s &quot;Creed&quot;", "Assassins Creed", "assassins creed"),
            ("Pokémon", "POKEMON", "pokemon"),
            ("Bjørn ß Łódź", "bjorn SS lodz", "bjorn ss lodz"),
            ("ＦＩＮＡＬ ＦＡＮＴＡＳＹ Ⅳ", "Final Fantasy IV", "final fantasy iv"),
            ("  \"Heat\" [1995] ", "Heat", "heat"),
        ] {
            assert_eq!((text(one).as_str(), text(other).as_str()), (wanted, wanted), "{one} and {other}");
        }
    }

    #[test]
    fn titles_that_are_two_have_two_keys() {
        for (one, other) in [
            ("The Sims 3", "The Sims 4"),
            ("Accounting", "Accounting+"),
            ("A.I.", "I"),
            ("Die Hard", "Hard"),
            ("FIFA 2005", "FIFA"),
            ("ガガ", "カカカ"),
            ("किताब", "कतब"),
        ] {
            assert_ne!(text(one), text(other));
        }
    }

    #[test]
    fn a_year_in_brackets_is_told_apart_and_any_other_is_part_of_the_title() {
        let years = ["Heat (1995)", "Heat [1986]", "1984", "(1984)", "Cricket 2007", "Room (3000)", "X (199x)"]
            .map(|title| key(title).year);
        assert_eq!(years, [Some(1995), Some(1986), None, None, None, None, None]);
        assert_eq!(text("(1984)"), "1984");
    }

    #[test]
    fn nothing_is_lost_of_what_is_short_or_strange() {
        assert_eq!(
            ["The", "A", "?!", "", "The ★", "+", "C++", ", The"].map(text),
            ["the", "a", "", "", "the", "plus", "c plus plus", "the"]
        );
    }

    #[test]
    fn any_character_is_folded_to_words_with_one_space_between() {
        for letter in (0..0x3_0000).filter_map(char::from_u32) {
            let text = text(&format!("(The {letter}{letter} x{letter}), The"));
            assert!(!text.starts_with(' ') && !text.ends_with(' ') && !text.contains("  "), "{letter:?}: {text:?}");
            assert!(text.contains('x'), "{letter:?}: {text:?}");
        }
    }
}
