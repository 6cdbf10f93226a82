//! Planning: what the best policy that there could be returns in a world, found by one that sees all of it.
//!
//! A world answers a user by rules without chance, so for one user the best policy is the best sequence of items, and no policy,
//! whatever it remembers or draws, returns more than that on average. Let the user be asked about nothing at turns before
//! `min_turns`, and at turn t about the last c(t) items. Then
//!
//! max  Σ_{t ≤ τ} r(a_t)  over τ < T and items a_0 … a_τ, where at every t < τ from `min_turns` on  r(a_t) ≥ the low reward and
//! a_t conflicts with none of a_{t−c(t)} … a_{t−1}
//!
//! (*inclusive*: what is shown at the last turn is paid for whether the user leaves at it or not, so a_τ is any item).
//! Two sides close in on it. `bound` proves what nobody exceeds, `search` finds a sequence that can be played; where the two
//! meet it is the best there is. On Coat they meet for every user where repeats are allowed, for all but one where not.
//!
//! Left out: rules that count (`max_same_category` from 1 on) and what is paid for where a session has come to (`bonus`): no bound
//! here reads them, so no plan is made. Rewards that a user would have to be asked for are known: this is a yardstick, no policy.

mod bound;
mod pairs;
mod search;
mod sets;

use anyhow::{Result, bail};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::{Episode, EpisodeAgent, GreedyOracle, play};
use crate::artifact::World;
use pairs::CompatiblePairs;
use search::ROUNDING;
use sets::ItemScores;

/// Items up to which a plan is made of all of them.
const LARGEST: usize = 16_384;

/// Items that a plan is made of in larger catalogues: the user's best, and those of the greedy oracle, which finds others where the best are
/// alike. The bound takes all others for items that pay what the best of them pays, as often as wanted and beside whatever.
const BEST: usize = 1024;

/// The best that is known for one user.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What to show, oldest first; it ends where the user leaves, or at the horizon.
    pub items: Vec<u32>,
    /// What that returns in the world it was made for, the last step included.
    pub value: f64,
    /// What no policy exceeds there.
    pub bound: f64,
}

impl Plan {
    /// Whether nobody can do better.
    #[must_use]
    pub fn exact(&self) -> bool {
        self.bound - self.value <= ROUNDING * self.bound.abs().max(1.0)
    }
}

/// Why no plan is made in a world, if so, as the end of a message.
#[must_use]
pub fn planning_unsupported(world: &World) -> Option<&'static str> {
    if world.bonus.is_some() {
        return Some("it pays for where a session has come to, which no bound here reads");
    }
    if world.diversity_penalty.is_some() {
        return Some("its rewards depend on all items of a session, and the bound reads pairs of items alone");
    }
    let counts = world.rules.max_same_category.is_some_and(|most| most > 0) && world.categories.is_some();
    counts.then_some(
        "its users leave by a count (`max_same_category` of 1 or more), and the bound reads pairs of items alone",
    )
}

/// The planning oracle of a world for each of `users`; `planned` is called after each, and ends it all by an error.
///
/// # Errors
/// In a world in which none is made ([`planning_unsupported`]).
pub fn plans(world: &World, users: &[u32], planned: &(dyn Fn() -> Result<()> + Sync)) -> Result<Vec<Plan>> {
    let most = if world.items() > LARGEST { BEST } else { LARGEST };
    plans_of_best(world, users, most, planned)
}

/// The same, made of a user's best `most` items, but no fewer than there are turns.
fn plans_of_best(
    world: &World,
    users: &[u32],
    most: usize,
    planned: &(dyn Fn() -> Result<()> + Sync),
) -> Result<Vec<Plan>> {
    if let Some(why) = planning_unsupported(world) {
        bail!("no plan is made in this world: {why}\nhelp: leave it out, or plan in the world that it was made from");
    }
    let most = most.max(world.rules.horizon);
    let all: Vec<u32> = (0..world.items() as u32).take_while(|_| world.items() <= most).collect();
    let all_pairs = CompatiblePairs::of(world, &all);
    let plan = |&user: &u32| {
        let greedy =
            if world.items() > most { play(world, &[user], &GreedyOracle, 1)?.items(0).to_vec() } else { Vec::new() };
        let scores = ItemScores::of(world, user, most, &greedy);
        let own_pairs = scores.best_items.as_ref().map(|items| CompatiblePairs::of(world, items));
        let pairs = own_pairs.as_ref().unwrap_or(&all_pairs);
        let sets = scores.best_sets(pairs, bound::longest(&world.rules));
        let bound = bound::bound(&world.rules, &scores, &sets);
        let (items, value) = search::search(world, &scores, pairs, &sets, bound);
        let items = match &scores.best_items {
            None => items,
            Some(best) => items.into_iter().map(|place| best[place as usize]).collect(),
        };
        planned()?;
        Ok(Plan { items, value, bound })
    };
    users.par_iter().map(plan).collect()
}

/// Follows plans, in the world that they were made for or in another.
pub struct PlanAgent {
    /// By user; who has none is shown what is drawn.
    plans: Vec<Vec<u32>>,
}

impl PlanAgent {
    /// Of the plans of these users, out of so many in all.
    #[must_use]
    pub fn new(all: usize, users: &[u32], plans: &[Plan]) -> Self {
        let mut by_user = vec![Vec::new(); all];
        for (&user, plan) in users.iter().zip(plans) {
            by_user[user as usize].clone_from(&plan.items);
        }
        Self { plans: by_user }
    }
}

impl EpisodeAgent for PlanAgent {
    type Notes = ();

    /// Where a user stays beyond the plan's end it begins anew, and goes on with the next item that may be shown.
    fn decide(&self, episode: &Episode, (): &mut (), draw: &mut ChaCha8Rng) -> Result<u32> {
        let plan = &self.plans[episode.user as usize];
        let turn = episode.items.len();
        let next = (0..plan.len()).map(|k| plan[(turn + k) % plan.len()]).find(|&item| episode.allowed(item));
        Ok(next.unwrap_or_else(|| episode.random_allowed(draw)))
    }
}

#[cfg(test)]
mod tests;
