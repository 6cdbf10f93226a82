//! The returns of all recommenders that learn from draws of one log: one draw, every size.

use anyhow::{Context as _, Result, ensure};
use pipeline::Context;
use pipeline::progress::Bar;
use rand::seq::SliceRandom;
use rayon::prelude::*;

use super::arms::{FittedArms, NamedScores, OLDEST, ORACLE, RANDOM, Scores};
use super::contenders::{Contender, contenders};
use crate::artifact::{Arm, Interactions, ItemVectors, Items, ReturnCell, Returns, World};
use crate::env::{FixedRanking, play};
use crate::nn::rng;
use crate::ratings::{HoldOut, NegativeSampler, Validation, WeightedLog};

/// What one draw is played with.
pub(super) struct Curve<'a> {
    /// The log from which learners draw.
    pub log: &'a Interactions,
    /// The catalogue.
    pub items: &'a Items,
    /// How many users the log has.
    pub users: usize,
    /// The evaluation worlds, or parts of them, with their names.
    pub places: Vec<Place<'a>>,
    /// The users that are evaluated.
    pub evaluated: Vec<u32>,
    /// The scores of models, and the items that have them.
    pub scores: Vec<NamedScores>,
    pub scored: Vec<u32>,
    /// Vectors of the items.
    pub vectors: Option<&'a ItemVectors>,
    /// Whether no offered item has a rating in the log.
    pub cold: bool,
    /// Whether learners fit drawn negatives beside the log.
    pub negatives: bool,
    /// The number of the draw.
    pub draw: u64,
}

/// A world in which some items are offered.
pub(super) struct Place<'a> {
    pub name: String,
    pub world: &'a World,
    /// The items that are offered, ascending.
    pub offered: Vec<u32>,
}

impl Curve<'_> {
    /// The returns with logs of `sizes`, and of the recommenders that need no log at size 0.
    pub fn play(&self, sizes: &[usize], cx: &Context) -> Result<Returns> {
        let scores: Vec<NamedScores> =
            self.scores.iter().flat_map(|scores| scores.with_controls(&self.scored, self.items, self.draw)).collect();
        let bar = cx.bar("fits", Some((sizes.len() * (1 + scores.len())) as u64), "fits");
        let mut cells = self.without_ratings(&scores)?;
        let order = self.log.sample_order(self.draw);
        let contenders = contenders(self.items, self.vectors, self.validation())?;
        for &n in sizes {
            cx.check_cancelled()?;
            let mut rows = order[..n].to_vec();
            rows.sort_unstable();
            cells.extend(self.with_ratings(self.log.take(&rows), &contenders, &scores, &bar)?);
        }
        Ok(Returns { users: self.evaluated.clone(), cells })
    }

    fn without_ratings(&self, scores: &[NamedScores]) -> Result<Vec<(ReturnCell, Vec<f32>)>> {
        let mut cells = Vec::new();
        for place in &self.places {
            let truth = |user: usize| {
                let row = place.world.rewards_of(user as u32);
                let scores: Vec<f64> = row.iter().map(|&reward| f64::from(reward)).collect();
                FixedRanking::order(&place.offered, &scores)
            };
            let drawn = |user: usize| {
                let mut order = place.offered.clone();
                order.shuffle(&mut rng(&[self.draw, 0x4a2d, user as u64]));
                order
            };
            let mut arm = |learner: &str, scores: &str, rankings: &[Vec<u32>]| -> Result<()> {
                cells.push(self.cell(place, Arm::new(learner, scores), 0, rankings)?);
                Ok(())
            };
            arm(ORACLE, "", &self.each(truth))?;
            arm(RANDOM, "", &self.each(drawn))?;
            if self.items.year.iter().any(Option::is_some) {
                // Undated items come last.
                let age: Vec<f64> =
                    self.items.year.iter().map(|year| year.map_or(f64::MIN, |year| -f64::from(year))).collect();
                arm(OLDEST, "", &[FixedRanking::order(&place.offered, &age)])?;
            }
            for scores in scores {
                arm("", &scores.name, &[FixedRanking::order(&place.offered, &scores.values)])?;
            }
        }
        Ok(cells)
    }

    fn with_ratings(
        &self,
        log: Interactions,
        contenders: &[Contender],
        scores: &[NamedScores],
        bar: &Bar,
    ) -> Result<Vec<(ReturnCell, Vec<f32>)>> {
        let size = [self.users, self.items.len()];
        let n = log.len();
        let log = if self.negatives {
            let cold: Vec<u32> = if self.cold { union(&self.places) } else { Vec::new() };
            // What is new cannot have been passed over.
            let negatives = NegativeSampler::new(&log, self.users, self.items.len()).never(&cold);
            WeightedLog::with_negatives(log, &negatives, self.items.len(), self.draw)
        } else {
            WeightedLog::equal(log)
        };
        let given: Vec<Option<&NamedScores>> = std::iter::once(None).chain(scores.iter().map(Some)).collect();
        let of_scores = |scores: &Option<&NamedScores>| -> Result<Vec<(ReturnCell, Vec<f32>)>> {
            let values = scores.map(|scores| &scores.values[..]);
            let arms = FittedArms::fit(&log, size, contenders, values, self.validation()).0;
            let mut cells = Vec::new();
            for place in &self.places {
                for (learner, found) in &arms {
                    let rankings: Vec<Vec<u32>> = match found {
                        Scores::All(scores) => self.ranking(place, scores),
                        Scores::Each(fitted) => {
                            self.each(|user| FixedRanking::order(&place.offered, &fitted.scores(user as u32)))
                        }
                    };
                    let arm = Arm::new(learner, scores.map_or("", |scores| &scores.name));
                    cells.push(self.cell(place, arm, n, &rankings)?);
                }
            }
            bar.inc(1);
            Ok(cells)
        };
        let cells: Vec<Vec<_>> = given.par_iter().map(of_scores).collect::<Result<_>>()?;
        Ok(cells.concat())
    }

    fn validation(&self) -> Validation {
        Validation { hold_out: if self.cold { HoldOut::Items } else { HoldOut::Ratings }, seed: self.draw }
    }

    /// One ranking for all. Items of equal scores keep their order; where no item has ratings, whole catalogues have equal scores, and
    /// an order of each user's own keeps the order of the catalogue from being knowledge.
    fn ranking(&self, place: &Place, scores: &[f64]) -> Vec<Vec<u32>> {
        let ranking = FixedRanking::order(&place.offered, scores);
        let tied = ranking.windows(2).any(|pair| scores[pair[0] as usize] == scores[pair[1] as usize]);
        if !(self.cold && tied) {
            return vec![ranking];
        }
        self.each(|user| {
            let mut order = ranking.clone();
            order.shuffle(&mut rng(&[self.draw, 0x71e5, user as u64]));
            FixedRanking::order(&order, scores)
        })
    }

    /// The rankings of the evaluated users at their numbers; nobody asks for those of the others.
    fn each(&self, ranking: impl Fn(usize) -> Vec<u32> + Sync) -> Vec<Vec<u32>> {
        let of = |user: usize| {
            let evaluated = self.evaluated.binary_search(&(user as u32)).is_ok();
            if evaluated { ranking(user) } else { Vec::new() }
        };
        // One ranking would stand for everybody.
        (0..self.users.max(2)).into_par_iter().map(of).collect()
    }

    fn cell(&self, place: &Place, arm: Arm, n: usize, rankings: &[Vec<u32>]) -> Result<(ReturnCell, Vec<f32>)> {
        let played = play(place.world, &self.evaluated, &FixedRanking { rankings }, self.draw)
            .with_context(|| format!("`{}` of {} in the world `{}`", arm.learner, arm.scores, place.name))?;
        let returns = (0..self.evaluated.len()).map(|e| played.rewards(e).iter().sum()).collect();
        let (n, draw) = (u32::try_from(n)?, u32::try_from(self.draw)?);
        Ok((ReturnCell { arm, world: place.name.clone(), n, draw }, returns))
    }
}

/// Every item that is offered anywhere.
fn union(places: &[Place]) -> Vec<u32> {
    let mut all: Vec<u32> = places.iter().flat_map(|place| place.offered.iter().copied()).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// The items of `offered` in three parts by how often `counts` rated them: the rarely rated first. Equal counts keep their numbers'
/// order.
pub(super) fn terciles(offered: &[u32], counts: &[usize]) -> Result<[Vec<u32>; 3]> {
    ensure!(offered.len() >= 3, "three parts of {} offered items", offered.len());
    let mut order = offered.to_vec();
    order.sort_by_key(|&item| counts[item as usize]);
    let at = |k: usize| k * order.len() / 3;
    Ok([0, 1, 2].map(|k| {
        let mut part = order[at(k)..at(k + 1)].to_vec();
        part.sort_unstable();
        part
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thirds_go_by_the_number_of_ratings() {
        let parts = terciles(&[0, 1, 2, 4, 5, 7], &[9, 1, 5, 99, 2, 8, 99, 3]).unwrap();
        assert_eq!(parts, [vec![1, 4], vec![2, 7], vec![0, 5]]);
        assert!(terciles(&[0, 1], &[1, 1]).is_err());
    }
}
