//! Hints from sentences that are filled in from the log: its genres, years and features. They know no session and no answer.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::artifact::{Interactions, Items};

/// At most this many genres, and values of each further column, are named.
const NAMED: usize = 6;
/// A value that fewer interactions share is not named.
const MIN_COUNT: usize = 2;

/// Hints in an order in which the first ones differ in kind; as many as the catalogue has something to say for.
pub(super) fn hints(items: &Items, train: &Interactions, noun: &str) -> Vec<String> {
    let groups =
        [of_any_log(noun), of_genres(items, train, noun), of_years(items, train, noun), of_features(items, train)];
    let longest = groups.iter().map(Vec::len).max().unwrap_or(0);
    (0..longest).flat_map(|place| groups.iter().filter_map(move |group| group.get(place)).cloned()).collect()
}

/// What can be said without knowing the catalogue.
fn of_any_log(noun: &str) -> Vec<String> {
    [
        "Weigh the latest choice above all earlier ones.",
        "Prefer a {noun} that very many people know.",
        "Prefer a {noun} that resembles the latest choice.",
        "Look for what most of the history has in common.",
        "Prefer a {noun} that few people know.",
        "Weigh early choices as much as late ones.",
        "Prefer what people with such a history usually choose next.",
        "Prefer a {noun} with an excellent reputation.",
        "Prefer a {noun} unlike anything in the history.",
        "Prefer a sequel or a companion of a choice in the history.",
        "Follow how the taste changes over the history, and go one step further.",
        "Prefer something light and entertaining.",
        "Prefer something serious and demanding.",
        "Do not let a familiar name decide.",
        "Prefer a {noun} made by the same people as one in the history.",
        "Prefer a {noun} that suits children as well.",
        "Prefer a {noun} that suits adults alone.",
        "Avoid whatever the history has too much of already.",
        "Prefer a {noun} from the same country as most of the history.",
        "Think of the mood of the latest choices, and keep to it.",
    ]
    .map(|hint| hint.replace("{noun}", noun))
    .to_vec()
}

fn of_genres(items: &Items, train: &Interactions, noun: &str) -> Vec<String> {
    let genres = most_frequent(train.item.iter().flat_map(|&item| &items.genres[item as usize]));
    if genres.is_empty() {
        return vec![];
    }
    let of_history = [
        "Stay with the genre of the latest choice.",
        "Avoid the genre of the latest choice.",
        "Prefer the genre that is most frequent in the history.",
        "Prefer a {noun} of a genre that the history lacks.",
    ];
    let of_history = of_history.map(|hint| hint.replace("{noun}", noun));
    let named: Vec<String> = genres.into_iter().map(|genre| format!("Prefer the genre {genre}.")).collect();
    // By turns: the first hints are of both kinds.
    let longest = named.len().max(of_history.len());
    let both = (0..longest).flat_map(|place| [of_history.get(place), named.get(place)]);
    both.flatten().cloned().collect()
}

fn of_years(items: &Items, train: &Interactions, noun: &str) -> Vec<String> {
    let mut years: Vec<i32> = train.item.iter().filter_map(|&item| items.year[item as usize]).collect();
    years.sort_unstable();
    let (Some(first), Some(last)) = (years.first(), years.last()) else { return vec![] };
    if first == last {
        return vec![];
    }
    let at = |quarter: usize| years[quarter * (years.len() - 1) / 4];
    let mut hints = vec![
        format!("Prefer a {noun} from {} or later.", at(2)),
        format!("Prefer a {noun} of the same years as the history."),
    ];
    if at(1) > *first {
        hints.push(format!("Prefer a {noun} from before {}.", at(1)));
    }
    if at(3) > at(2) {
        hints.push(format!("Prefer a {noun} from {} or later.", at(3)));
    }
    hints
}

/// Of the further columns of a catalogue, such as colours.
fn of_features(items: &Items, train: &Interactions) -> Vec<String> {
    let columns: Vec<Vec<String>> = items
        .features
        .iter()
        .map(|(column, values)| {
            let found = most_frequent(train.item.iter().map(|&item| &values[item as usize]));
            // A column in which hardly any value recurs, such as a link, describes single items.
            let told = if found.len() > 1 { found } else { vec![] };
            told.into_iter().map(|value| format!("Prefer {column}: {value}.")).collect()
        })
        .collect();
    let longest = columns.iter().map(Vec::len).max().unwrap_or(0);
    (0..longest).flat_map(|place| columns.iter().filter_map(move |column| column.get(place)).cloned()).collect()
}

/// The most frequent texts, ties in alphabetical order.
fn most_frequent<'t>(texts: impl Iterator<Item = &'t String>) -> Vec<&'t String> {
    let mut counts: BTreeMap<&String, usize> = BTreeMap::new();
    texts.filter(|text| !text.trim().is_empty()).for_each(|text| *counts.entry(text).or_default() += 1);
    let mut counts: Vec<(&String, usize)> = counts.into_iter().filter(|&(_, count)| count >= MIN_COUNT).collect();
    counts.sort_by_key(|&(text, count)| (Reverse(count), text));
    counts.truncate(NAMED);
    counts.into_iter().map(|(text, _)| text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(items: &[u32]) -> Interactions {
        Interactions {
            user: vec![0; items.len()],
            item: items.to_vec(),
            rating: vec![4.0; items.len()],
            timestamp: (0..items.len() as i64).collect(),
        }
    }

    fn bare(count: usize) -> Items {
        Items {
            id: (0..count).map(|k| k.to_string()).collect(),
            title: vec![String::new(); count],
            year: vec![None; count],
            genres: vec![vec![]; count],
            ..Items::default()
        }
    }

    #[test]
    fn what_the_log_knows_is_named_most_frequent_first() {
        let mut items = bare(3);
        items.genres = [&["Comedy", "War"][..], &["Drama"], &["Drama"]]
            .map(|genres| genres.iter().map(|genre| (*genre).to_owned()).collect())
            .to_vec();
        items.year = vec![Some(1950), Some(1990), Some(1998)];
        let found = hints(&items, &log(&[0, 0, 1, 1, 2]), "film");
        let place =
            |text: &str| found.iter().position(|hint| hint == text).unwrap_or_else(|| panic!("{text}: {found:#?}"));
        // Drama has three interactions, Comedy and War two.
        assert!(place("Prefer the genre Drama.") < place("Prefer the genre Comedy."));
        assert!(place("Prefer the genre Comedy.") < place("Prefer the genre War."));
        assert!(place("Avoid the genre of the latest choice.") < 12);
        // Years by interactions: 1950, 1950, 1990, 1990, 1998.
        place("Prefer a film from 1990 or later.");
        assert!(!found.iter().any(|hint| hint.contains("before")), "nothing is older than 1950");
        place("Prefer a film that few people know.");
        let mut distinct = found.clone();
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), found.len(), "no hint twice: {found:#?}");
    }

    #[test]
    fn a_catalogue_without_genres_and_years_has_twenty_hints_and_its_features_are_named() {
        let mut items = bare(4);
        let found = hints(&items, &log(&[0, 1, 2]), "coat");
        assert!(found.len() >= 20 && !found.iter().any(|hint| hint.contains("genre")), "{found:#?}");
        items.features = [
            ("colour".to_owned(), ["red", "blue", "red", "blue"].map(str::to_owned).to_vec()),
            ("link".to_owned(), ["a", "b", "c", "d"].map(str::to_owned).to_vec()),
        ]
        .into();
        let found = hints(&items, &log(&[0, 1, 2, 0, 3]), "coat");
        assert_eq!(found[1], "Prefer colour: red.");
        assert!(found.contains(&"Prefer colour: blue.".to_owned()));
        assert!(!found.iter().any(|hint| hint.contains("link: a") || hint.contains("link: b")), "{found:#?}");
    }
}
