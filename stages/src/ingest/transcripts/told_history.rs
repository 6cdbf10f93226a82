//! The histories that episodes told the model, as interactions of a log: what the model was told must not evaluate it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use pipeline::Context;

use crate::artifact::Interactions;
use crate::ingest::transcripts::imported_ids::ImportedIds;
use crate::ingest::transcripts::log_matching::UserIds;
use crate::ingest::transcripts::title_matching::TitleMatcher;
use crate::ingest::transcripts::transcript::Transcript;

/// A log, and which of its interactions the model was told.
pub(in crate::ingest) struct ToldHistory {
    pub log: Interactions,
    pub told: Interactions,
}

impl ToldHistory {
    /// The histories of `transcripts` in the log at `interactions`.
    ///
    /// Users of the log: every interaction of the user with a told item, because a repeated one would tell the item as well. New
    /// users: their histories follow the log, where it has one rating for everything.
    ///
    /// # Errors
    /// Where a user of the log met nothing of what their episode told: equal ids of different people.
    pub fn new<'t>(
        transcripts: impl Iterator<Item = &'t Transcript>,
        ids: &ImportedIds,
        matcher: &TitleMatcher,
        by: UserIds,
        interactions: Interactions,
        cx: &Context,
    ) -> Result<Self> {
        let mut histories: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        let (mut titles, mut names) = (0, BTreeMap::new());
        for transcript in transcripts {
            let Some(&user) = ids.user_numbers.get(&transcript.user) else { continue };
            names.insert(user, transcript.user.as_str());
            let history = histories.entry(user).or_default();
            for title in &transcript.history {
                titles += 1;
                let item = matcher.exact_title(title).and_then(|item| ids.item_numbers[item as usize]);
                history.extend(item);
            }
        }
        let found: usize = histories.values().map(Vec::len).sum();
        cx.note("told items", format!("{found} of {titles} titles of the histories are in `items`"));
        match by {
            UserIds::Same => Self::of_the_log(&histories, &names, interactions, cx),
            UserIds::New => Ok(Self::after_the_log(histories, interactions, cx)),
        }
    }

    fn of_the_log(
        histories: &BTreeMap<u32, Vec<u32>>,
        names: &BTreeMap<u32, &str>,
        log: Interactions,
        cx: &Context,
    ) -> Result<Self> {
        let told: BTreeSet<(u32, u32)> =
            histories.iter().flat_map(|(&user, items)| items.iter().map(move |&item| (user, item))).collect();
        let rows: Vec<usize> = (0..log.len()).filter(|&row| told.contains(&(log.user[row], log.item[row]))).collect();
        let met: BTreeSet<(u32, u32)> = rows.iter().map(|&row| (log.user[row], log.item[row])).collect();
        let recognised: BTreeSet<u32> = met.iter().map(|&(user, _)| user).collect();
        let told_users: BTreeSet<u32> = told.iter().map(|&(user, _)| user).collect();
        let mut strange = told_users.difference(&recognised);
        if let Some(user) = strange.next() {
            bail!(
                "user {} has none of the items in the log that the episode names as their history, as is so with {} of {} users: \
                 equal ids of different people\nhelp: set `user_ids: new`; or, where they are the same people, connect the whole log",
                names[user],
                1 + strange.count(),
                told_users.len()
            );
        }
        let unknown = histories.len() - told_users.len();
        if unknown > 0 {
            cx.note("users matched by id alone", format!("{unknown}, of whose histories no item is in `items`"));
        }
        cx.note(
            "told",
            format!(
                "{} interactions of {} users; {} of {} told items are in their logs",
                rows.len(),
                recognised.len(),
                met.len(),
                told.len()
            ),
        );
        Ok(Self { told: log.take(&rows), log })
    }

    fn after_the_log(histories: BTreeMap<u32, Vec<u32>>, mut log: Interactions, cx: &Context) -> Self {
        let mut told = Interactions::default();
        // What a new user thought of their history is not recorded.
        if let Some(rating) = log.only_rating() {
            for (user, items) in histories {
                let mut seen = BTreeSet::new();
                for (place, item) in items.into_iter().enumerate().filter(|(_, item)| seen.insert(*item)) {
                    told.user.push(user);
                    told.item.push(item);
                    told.rating.push(rating);
                    told.timestamp.push(place as i64);
                }
            }
            cx.note("told", format!("{} interactions of the new users follow the log", told.len()));
        } else {
            cx.note(
                "told",
                "the new users have no interactions, because the log has ratings and their histories have none",
            );
        }
        log.user.extend(&told.user);
        log.item.extend(&told.item);
        log.rating.extend(&told.rating);
        log.timestamp.extend(&told.timestamp);
        Self { log, told }
    }
}
