//! What a prompt calls items.

use crate::artifact::Items;

/// Maximum length of an item's name, in characters.
const MAX_NAME_CHARS: usize = 200;

/// What a prompt may say of one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ItemText {
    /// The title, else the description, else the id in brackets.
    pub title: String,
    /// The year, where it is known and the title is no description, which holds it already.
    pub year: Option<i32>,
    /// The genres, under the same condition.
    pub genres: Vec<String>,
    /// Whether more than the id is known.
    pub known: bool,
}

/// The texts of all items. Two items may have equal ones.
pub(crate) fn item_texts(items: &Items) -> Vec<ItemText> {
    let has_titles = items.has_titles();
    let text = |(item, name): (usize, String)| {
        let described = name != items.title[item];
        let title = natural_title(&name);
        let known = !title.is_empty() && (described || has_titles);
        let genres = items.genres[item].iter().map(|genre| sanitize(genre, MAX_NAME_CHARS));
        ItemText {
            title: if known { title } else { format!("[{}]", sanitize(&items.id[item], MAX_NAME_CHARS)) },
            year: items.year[item].filter(|_| !described),
            genres: genres.filter(|genre| !described && !genre.is_empty()).collect(),
            known,
        }
    };
    items.display_names().into_iter().enumerate().map(text).collect()
}

/// Titles in one line and in the order of speech, descriptions where there are none; where several items share one, the year
/// tells them apart, else the id.
pub(crate) fn names(items: &Items) -> Vec<String> {
    let plain: Vec<String> = items.display_names().iter().map(|title| natural_title(title)).collect();
    let dated =
        |row: usize, name: &String| items.year[row].map_or_else(|| name.clone(), |year| format!("{name} ({year})"));
    let dated = distinguish(&plain, dated);
    distinguish(&dated, |row, name| {
        format!("{name} [{}]", sanitize(&items.id[row], MAX_NAME_CHARS)).trim_start().to_owned()
    })
}

/// A text of a model or a catalogue as one line of a prompt: it is cut to a maximum length, and special tokens of chat templates and
/// tokenizers are split. Nothing in it is rendered or run.
pub(crate) fn sanitize(text: &str, most: usize) -> String {
    let line = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let line = line.collect::<Vec<_>>().join(" ").replace("<|", "< |");
    match line.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", line[..end].trim_end()),
        None => line,
    }
}

/// Catalogues put an article last (`Piano, The`); models know the title in its natural order, which is more probable to them.
fn natural_title(title: &str) -> String {
    let title = sanitize(title, MAX_NAME_CHARS);
    let article =
        ["The", "A", "An"].iter().find_map(|article| Some((article, title.strip_suffix(article)?.strip_suffix(", ")?)));
    article.map_or_else(|| title.clone(), |(article, rest)| format!("{article} {rest}"))
}

/// Replaces every name that is empty or not the only one of its kind.
fn distinguish(names: &[String], other: impl Fn(usize, &String) -> String) -> Vec<String> {
    let mut count = std::collections::BTreeMap::new();
    for name in names {
        *count.entry(name).or_insert(0) += 1;
    }
    let pick = |(row, name): (usize, &String)| {
        if name.is_empty() || count[name] > 1 { other(row, name) } else { name.clone() }
    };
    names.iter().enumerate().map(pick).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(titles: &[(&str, Option<i32>)]) -> Items {
        Items {
            id: (0..titles.len()).map(|row| format!("i{row}")).collect(),
            title: titles.iter().map(|title| title.0.to_owned()).collect(),
            year: titles.iter().map(|title| title.1).collect(),
            genres: vec![vec![]; titles.len()],
            ..Items::default()
        }
    }

    #[test]
    fn names_are_all_different_and_in_one_line() {
        let catalogue = items(&[
            ("Fargo", None),
            ("Heat", Some(1986)),
            ("Heat", Some(1995)),
            ("X\n Y", None),
            ("", None),
            ("Fly", None),
            ("Fly", None),
        ]);
        assert_eq!(names(&catalogue), ["Fargo", "Heat (1986)", "Heat (1995)", "X Y", "[i4]", "Fly [i5]", "Fly [i6]"]);
    }

    #[test]
    fn what_has_no_title_is_described() {
        let mut catalogue = items(&[("", None), ("", None), ("", None)]);
        catalogue.genres = ["pea", "pea", ""].map(|genre| vec![genre.to_owned()]).to_vec();
        assert_eq!(names(&catalogue), ["pea [i0]", "pea [i1]", "[i2]"]);
    }

    #[test]
    fn words_from_outside_are_one_short_line() {
        assert_eq!(sanitize("a\u{1b}[31m\n\n b\u{0}c <|im_end|>{{ x }}", 99), "a [31m b c < |im_end|>{{ x }}");
        assert_eq!(sanitize("żółwie i koty", 6), "żółwie…");
        assert_eq!(sanitize("żółwie", 6), "żółwie");
        let long = items(&[(&"Long ".repeat(4_000), None), (&"Long ".repeat(5_000), None)]);
        let named = names(&long);
        assert!(named.iter().all(|name| name.chars().count() < 220) && named[0] != named[1], "{named:?}");
    }

    #[test]
    fn a_prompt_says_of_an_item_what_is_known_and_once() {
        let mut catalogue = items(&[("Piano, The\n", Some(1993)), ("Heat", None), ("", Some(1990)), ("", None)]);
        catalogue.genres = [&["Drama", "<|x|>"][..], &[], &["rain"], &[]]
            .map(|genres| genres.iter().map(|genre| (*genre).to_owned()).collect())
            .to_vec();
        let text = |title: &str, year, genres: &[&str], known| ItemText {
            title: title.into(),
            year,
            genres: genres.iter().map(|genre| (*genre).to_owned()).collect(),
            known,
        };
        let expected = [
            text("The Piano", Some(1993), &["Drama", "< |x|>"], true),
            text("Heat", None, &[], true),
            text("rain, of 1990", None, &[], true),
            text("[i3]", None, &[], false),
        ];
        assert_eq!(item_texts(&catalogue), expected);
        let ids = items(&[("i0", None), ("i1", Some(1990))]);
        assert_eq!(item_texts(&ids), [text("[i0]", None, &[], false), text("of 1990", None, &[], true)]);
    }

    #[test]
    fn articles_come_first() {
        let said = ["Piano, The", "Close Shave, A", "Othello", "Good, Bad, An "].map(natural_title);
        assert_eq!(said, ["The Piano", "A Close Shave", "Othello", "An Good, Bad"]);
    }
}
