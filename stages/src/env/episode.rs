//! One episode, as the agent and the user simulator see it.

use anyhow::{Result, ensure};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::similarity_mask::SimilarityMask;
use crate::artifact::{Repeats, Termination, World};

/// The history of one user so far.
#[derive(Clone, Copy)]
pub struct Episode<'a> {
    pub(super) world: &'a World,
    pub(super) similarity_mask: Option<&'a SimilarityMask>,
    /// The user.
    pub user: u32,
    /// The items so far, oldest first.
    pub items: &'a [u32],
    /// Their rewards.
    pub rewards: &'a [f32],
}

impl<'a> Episode<'a> {
    /// The world it is played in.
    #[must_use]
    pub fn world(&self) -> &'a World {
        self.world
    }
    /// The recent items that the `similar` and the `category` rule compare with.
    #[must_use]
    pub fn quit_window(&self) -> &'a [u32] {
        let (rules, turn) = (&self.world.rules, self.items.len());
        &self.items[turn - rules.window_rule.length(turn, rules.quit_window)..]
    }
    /// Whether `item` may be recommended: always, where repeats are allowed, else what was not shown.
    #[must_use]
    pub fn allowed(&self, item: u32) -> bool {
        self.world.rules.repeats == Repeats::Allowed || !self.items.contains(&item)
    }
    /// Whether the user quits at `item`, independent of its reward.
    #[must_use]
    pub fn user_quits_at(&self, item: u32) -> bool {
        self.quit_reason(item).is_some()
    }
    /// The items that may be recommended and at which the user does not quit, rising.
    #[must_use]
    pub fn free_items(&self) -> Vec<u32> {
        let allowed = (0..self.world.items() as u32).filter(|&item| self.allowed(item));
        if self.cannot_quit() {
            return allowed.collect();
        }
        let Some(similar) = self.world.similar_to_any(self.quit_window()) else {
            return allowed.filter(|&item| !self.user_quits_at(item)).collect();
        };
        let dissimilar = allowed.filter(|&item| similar[item as usize / 64] >> (item % 64) & 1 == 0);
        dissimilar.filter(|&item| !self.world.too_much_of_a_category(item, self.quit_window())).collect()
    }
    /// An item drawn evenly from those that may be recommended, the lowest where none may (which `step` refuses).
    #[must_use]
    pub fn random_allowed(&self, draw: &mut ChaCha8Rng) -> u32 {
        let items = self.world.items();
        if self.world.rules.repeats == Repeats::Allowed {
            return draw.random_range(0..items as u32);
        }
        // The k-th of the others, found by stepping over what was shown instead of listing a catalogue.
        let mut shown = self.items.to_vec();
        shown.sort_unstable();
        if shown.len() >= items {
            return 0;
        }
        let mut item = draw.random_range(0..items - shown.len()) as u32;
        for masked in shown {
            item += u32::from(masked <= item);
        }
        item
    }

    /// Whether no user quits at this turn, whatever is shown.
    fn cannot_quit(&self) -> bool {
        self.items.len() < self.world.rules.min_turns || self.world.rules.repeats == Repeats::MaskedFixedLength
    }

    /// Why the user quits at `item`, independent of its reward.
    fn quit_reason(&self, item: u32) -> Option<Termination> {
        if self.cannot_quit() {
            None
        } else if self.too_similar(item) {
            Some(Termination::Similar)
        } else if self.world.too_much_of_a_category(item, self.quit_window()) {
            Some(Termination::Category)
        } else {
            None
        }
    }

    fn too_similar(&self, item: u32) -> bool {
        match self.similarity_mask {
            Some(similarity_mask) => similarity_mask.any(item, self.quit_window()),
            None => self.world.too_similar(item, self.quit_window()),
        }
    }

    /// The reward of `item`, and whether the episode ends with it: the rules in IL-Rec's order (low reward, similar item), then
    /// the category, then the horizon.
    ///
    /// # Errors
    /// When the item may not be recommended: a fault of the agent.
    pub(super) fn answer(&self, item: u32) -> Result<(f32, Option<Termination>)> {
        let (rules, turn) = (&self.world.rules, self.items.len());
        ensure!(
            self.allowed(item),
            "item {item} was recommended to user {} again at turn {turn}, in a world that masks repeats\nhelp: take \
             `repeats: allowed`, or a catalogue that is larger than the horizon",
            self.user
        );
        let reward = self.world.reward_for(self.user, item, self.items);
        // What is paid for where the session has come to makes no item better.
        let own = self.world.reward(self.user, item);
        let bad = !self.cannot_quit() && rules.quit_below.is_some_and(|low| own < low);
        let left = bad.then_some(Termination::LowReward).or_else(|| self.quit_reason(item));
        Ok((reward, left.or_else(|| (turn + 1 >= rules.horizon).then_some(Termination::Horizon))))
    }
}
