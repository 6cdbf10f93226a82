//! The users and items that transcripts name.

use std::collections::{BTreeMap, BTreeSet};

use crate::artifact::{Items, Users};
use crate::ingest::transcripts::import::CatalogueFilter;
use crate::ingest::transcripts::title_matching::TitleMatcher;
use crate::ingest::transcripts::transcript::Transcript;

/// The users and items with their numbers.
pub(in crate::ingest) struct ImportedIds {
    pub items: Items,
    pub users: Users,
    /// Numbers in `items` by numbers in the whole catalogue.
    pub item_numbers: Vec<Option<u32>>,
    /// Numbers in `users` by ids in the source; those of other users are not imported.
    pub user_numbers: BTreeMap<String, u32>,
}

impl ImportedIds {
    pub fn new(keep: CatalogueFilter, catalogue: &Items, matcher: &TitleMatcher, transcripts: &[&Transcript]) -> Self {
        let recommended = transcripts.iter().flat_map(|transcript| transcript.recommendations());
        let recommended = recommended.filter_map(|turn| matcher.item(turn).ok().flatten());
        let mut named: BTreeSet<&str> = recommended.map(|item| catalogue.title[item as usize].as_str()).collect();
        named.extend(transcripts.iter().flat_map(|transcript| &transcript.history).map(String::as_str));
        let rows = (0..catalogue.len())
            .filter(|&row| keep == CatalogueFilter::All || named.contains(catalogue.title[row].as_str()));
        let rows: Vec<usize> = rows.collect();
        let mut item_numbers = vec![None; catalogue.len()];
        (0..).zip(&rows).for_each(|(number, &row)| item_numbers[row] = Some(number));

        let mut histories: BTreeMap<&str, &[String]> = BTreeMap::new();
        for transcript in transcripts {
            histories.entry(&transcript.user).or_insert(&transcript.history);
        }
        let mut users = Users::default();
        for (user, history) in &histories {
            let seen = history.iter().filter_map(|title| Some(&catalogue.genres[matcher.exact_title(title)? as usize]));
            let favourites = most_common(seen.flatten());
            users.id.push((*user).to_owned());
            for place in 0..3 {
                let genre = favourites.get(place).copied().unwrap_or_default().to_owned();
                users.features.entry(format!("genre {}", place + 1)).or_default().push(genre);
            }
        }
        let user_numbers = (0..).zip(&users.id).map(|(k, id)| (id.clone(), k)).collect();
        Self { items: catalogue.take(&rows), users, item_numbers, user_numbers }
    }
}

/// Texts by descending frequency; ties by name.
fn most_common<'a>(texts: impl Iterator<Item = &'a String>) -> Vec<&'a str> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    texts.for_each(|text| *counts.entry(text).or_default() += 1);
    let mut order: Vec<(&str, usize)> = counts.into_iter().collect();
    order.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    order.into_iter().map(|(text, _)| text).collect()
}
