//! Whose held-out interactions are to be ranked first, and what their rankings leave out.

use anyhow::{Result, ensure};
use pipeline::Context;

use super::settings::EvaluateRanking;
use crate::artifact::Interactions;

/// The evaluated users with what is relevant for each.
pub(super) struct HeldOut {
    /// Users with a relevant interaction, ascending.
    pub users: Vec<u32>,
    /// The relevant items of each, ascending.
    pub relevant: Vec<Vec<u32>>,
    /// The items that the rankings of each leave out, ascending.
    pub masked: Vec<Vec<u32>>,
    /// The last interactions of each in `train`, oldest first.
    pub history: Vec<History>,
}

/// Items and their ratings, oldest first.
#[derive(Clone, Default)]
pub(super) struct History {
    pub items: Vec<u32>,
    pub ratings: Vec<f32>,
}

impl HeldOut {
    /// Of two logs that are within the users and items.
    pub fn new(
        stage: &EvaluateRanking,
        train: &Interactions,
        test: &Interactions,
        users: usize,
        cx: &Context,
    ) -> Result<Self> {
        let least = stage.min_rating.unwrap_or(f64::NEG_INFINITY);
        let is_relevant = |&row: &usize| f64::from(test.rating[row]) >= least;
        let mut relevant = by_user(test, users, is_relevant);
        let mut masked = if stage.exclude_train { by_user(train, users, |_| true) } else { vec![Vec::new(); users] };
        let known: usize = relevant.iter_mut().zip(&masked).map(|(items, masked)| without(items, masked)).sum();
        let chosen: Vec<u32> = (0..users as u32).filter(|&user| !relevant[user as usize].is_empty()).collect();
        let without_any = if stage.min_rating.is_some() {
            "no held-out interaction of that rating"
        } else {
            "no held-out interaction"
        };
        ensure!(
            !chosen.is_empty(),
            "{without_any} is left, so there is nothing to rank first\nhelp: connect the held-out part of the log to `test`, lower `min_rating`, or set \
             `exclude_train: false` where users take items again"
        );
        let mut interacted = vec![false; stage_items(train, test)];
        train.item.iter().for_each(|&item| interacted[item as usize] = true);
        let pairs: usize = relevant.iter().map(Vec::len).sum();
        let cold = relevant.iter().flatten().filter(|&&item| !interacted[item as usize]).count();
        cx.note(
            "users",
            format!("{} of {users} have a relevant held-out interaction; the others are left out", chosen.len()),
        );
        cx.note(
            "relevant",
            format!("{pairs} pairs of user and item; {cold} of them are of an item without an interaction in `train`"),
        );
        if known > 0 {
            cx.note("left out", format!("{known} held-out pairs that `train` holds, too"));
        }
        let mut history = stage.history(train, users);
        let pick = |of: &mut Vec<Vec<u32>>| chosen.iter().map(|&user| std::mem::take(&mut of[user as usize])).collect();
        let (relevant, masked) = (pick(&mut relevant), pick(&mut masked));
        let history = chosen.iter().map(|&user| history.get_mut(user as usize).map(std::mem::take).unwrap_or_default());
        Ok(Self { relevant, masked, history: history.collect(), users: chosen })
    }
}

impl EvaluateRanking {
    /// The last interactions of each user; none at all where policies are told none.
    fn history(&self, train: &Interactions, users: usize) -> Vec<History> {
        if self.history_length == 0 {
            return Vec::new();
        }
        let mut order: Vec<usize> = (0..train.len()).collect();
        order.sort_by_key(|&row| (train.user[row], train.timestamp[row]));
        let mut history = vec![History::default(); users];
        for rows in order.chunk_by(|&a, &b| train.user[a] == train.user[b]) {
            let last = &rows[rows.len().saturating_sub(self.history_length)..];
            history[train.user[rows[0]] as usize] = History {
                items: last.iter().map(|&row| train.item[row]).collect(),
                ratings: last.iter().map(|&row| train.rating[row]).collect(),
            };
        }
        history
    }
}

/// How many items the logs name.
fn stage_items(train: &Interactions, test: &Interactions) -> usize {
    train.item.iter().chain(&test.item).max().map_or(0, |&item| item as usize + 1)
}

/// The items of each user in the rows that count, ascending, each once.
fn by_user(log: &Interactions, users: usize, counts: impl Fn(&usize) -> bool) -> Vec<Vec<u32>> {
    let mut items = vec![Vec::new(); users];
    for row in (0..log.len()).filter(counts) {
        items[log.user[row] as usize].push(log.item[row]);
    }
    for items in &mut items {
        items.sort_unstable();
        items.dedup();
        items.shrink_to_fit();
    }
    items
}

/// Removes what is among `others`, ascending; how many that were.
fn without(items: &mut Vec<u32>, others: &[u32]) -> usize {
    let before = items.len();
    items.retain(|item| others.binary_search(item).is_err());
    before - items.len()
}
