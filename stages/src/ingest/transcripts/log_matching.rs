//! Transcripts beside a real log of the same catalogue: their items and users by the numbers of the log.
//!
//! Equal ids are not taken for equal things. An item with the same id must have the same title, and a user with the same id must have
//! met an item that the episode's history tells ([`told_history`](crate::ingest::transcripts::told_history)).

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};
use pipeline::Context;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::{Items, Users};
use crate::ingest::transcripts::imported_ids::ImportedIds;

/// How the items of transcripts are matched to the input `items`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ItemIds {
    /// By id. An item with the same id and another title is an error.
    #[default]
    Same,
    /// By exact title, because the ids differ; of several items with one title, the first.
    Titles,
}

/// How the users of transcripts are matched to the input `users`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UserIds {
    /// By id: they are users of the log. Episodes of users who are not in the log are dropped.
    Same,
    /// Not at all: they are other people, also where ids are equal. They become new users after those of the log, with `episode:`
    /// before their ids.
    New,
}

impl ImportedIds {
    /// Numbers the items as `items` does; `catalogue` is that of the transcripts, or `items` itself.
    ///
    /// # Errors
    /// Where equal ids have different titles, or no item matches.
    pub fn number_items_as(&mut self, items: &Items, catalogue: &Items, by: ItemIds, cx: &Context) -> Result<()> {
        let key = |of: &'_ Items, row: usize| match by {
            ItemIds::Same => of.id[row].clone(),
            ItemIds::Titles => of.title[row].trim().to_owned(),
        };
        let mut rows: BTreeMap<String, u32> = BTreeMap::new();
        (0..items.len()).for_each(|row| {
            rows.entry(key(items, row)).or_insert(row as u32);
        });
        self.item_numbers = (0..catalogue.len()).map(|row| rows.get(&key(catalogue, row)).copied()).collect();
        let matched: Vec<(usize, usize)> =
            self.item_numbers.iter().enumerate().filter_map(|(row, number)| Some((row, (*number)? as usize))).collect();
        // A catalogue without titles has ids in their place, and readers of tables trim what they read.
        let differs = |&&(theirs, ours): &&(usize, usize)| {
            items.title[ours].trim() != catalogue.title[theirs].trim() && items.title[ours] != items.id[ours]
        };
        if let Some(&(theirs, ours)) = matched.iter().find(differs) {
            bail!(
                "item {} is {:?} in the transcripts and {:?} in `items`; {} of {} common ids have different titles\nhelp: set \
                 `item_ids: titles`, or connect the catalogue that the transcripts were recorded with",
                items.id[ours],
                catalogue.title[theirs],
                items.title[ours],
                matched.iter().filter(differs).count(),
                matched.len()
            );
        }
        let (how, help) = match by {
            ItemIds::Same => ("id", "set `item_ids: titles`"),
            ItemIds::Titles => ("title", "compare the titles of both catalogues"),
        };
        ensure!(
            !matched.is_empty(),
            "none of the {} items of the transcripts has the {how} of one of the {} items of `items`\nhelp: {help}",
            catalogue.len(),
            items.len()
        );
        cx.note("items", format!("{} of {} are in `items`, by {how}", matched.len(), catalogue.len()));
        self.items = items.clone();
        Ok(())
    }

    /// Numbers the users as `users` does.
    ///
    /// # Errors
    /// Where no user matches, or the name of a new one is taken.
    pub fn number_users_as(&mut self, users: &Users, by: UserIds, cx: &Context) -> Result<()> {
        let rows: BTreeMap<&str, u32> = users.id.iter().map(String::as_str).zip(0..).collect();
        let all = self.users.len();
        let mut known = users.clone();
        match by {
            UserIds::Same => {
                self.user_numbers.retain(|id, number| {
                    rows.get(id.as_str()).is_some_and(|&row| {
                        *number = row;
                        true
                    })
                });
                ensure!(
                    !self.user_numbers.is_empty(),
                    "none of the {all} users of the transcripts is one of the {} users of `users`\nhelp: set `user_ids: new` where \
                     they are other people",
                    users.len()
                );
                cx.note("users", format!("{} of {all} are in `users`, by id", self.user_numbers.len()));
            }
            UserIds::New => {
                for (id, number) in &mut self.user_numbers {
                    let name = format!("episode:{id}");
                    ensure!(
                        !rows.contains_key(name.as_str()),
                        "a user of `users` has the id `{name}` already\nhelp: read all episodes of new users by one stage"
                    );
                    *number = known.id.len() as u32;
                    known.id.push(name);
                    known.features.values_mut().for_each(|values| values.push(String::new()));
                }
                cx.note("users", format!("{all} new ones after the {} of `users`", users.len()));
            }
        }
        self.users = known;
        Ok(())
    }
}
