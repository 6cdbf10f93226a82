//! Regularized biases of items and users: r̂(u, i) = μ + b_i + b_u, with b_i = Σ_u w(r − μ)/(Σ_u w + λ_i) and b_u = Σ_i w(r − μ − b_i)/(Σ_i w + λ_u).
//!
//! What can be said of an item that few have rated and a user who rated little (Koren, Bell and Volinsky 2009, § "adding
//! biases", in closed form: one pass, items first). Nothing is drawn and nothing is learned by steps: the world to beat.
//!
//! With `item_scores` the item biases deviate from a [prior mean](super::prior_mean) instead of from 0. Then an empty log gives a
//! world, too: the scores alone.

use std::ops::Range;

use anyhow::{Result, ensure};
use pipeline::{Context, MemoryNeed, Requirement, Sizes, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::completion::{Fitted, Said};
use super::ensemble::{Ensemble, Member, mean, mean_square, range};
use super::prior_mean::PriorMean;
use super::side_features::note_unread;
use super::{Inputs, Ips, Outputs, UserSimulator, WorldForm};
use crate::artifact::{Array, Curves, Factors, Interactions};
use crate::ratings::{Biases, Regularization};

/// What to do with a log of one rating.
const NO_TASTE: &str = "name the log's ratings where it is read (`rating`); a log that only says what people chose can be fitted by \
                        `world.mf` or `world.deepfm` with `sample_negatives: true`";

/// `world.bias`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Bias {
    /// λ_i: the shrinkage of item biases, in ratings at the global mean, 0 or more. With `item_scores` it comes from
    /// cross-validation, and this one has no effect.
    pub item_regularization: f64,
    /// λ_u: the shrinkage of user biases, likewise; 3 with `item_scores`.
    pub user_regularization: f64,
    /// Lowest and highest rating of a world that has `item_scores` and an empty log: the middle, plus a quarter of the range for each
    /// standard deviation of the scores. 1 to 5 without a value. Of no effect where there are ratings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rating_range: Option<[f64; 2]>,
    /// Inverse propensity weighting; only with the input `propensities`.
    pub ips: Ips,
    /// Whether the world stores a reward for each user and item, or the biases: `auto`, `dense` or `factored`.
    #[serde(skip_serializing_if = "WorldForm::is_auto")]
    pub form: WorldForm,
    /// How simulated users behave in the completed world.
    pub simulator: UserSimulator,
}

impl Default for Bias {
    fn default() -> Self {
        // Chosen on splits of Coat's chosen ratings.
        Self {
            item_regularization: 5.0,
            user_regularization: 3.0,
            rating_range: None,
            ips: Ips::default(),
            form: WorldForm::Auto,
            simulator: UserSimulator::default(),
        }
    }
}

impl Stage for Bias {
    const KIND: &'static str = "world.bias";
    /// 1: first. 2: the world says whose its distances are.
    /// 3: `similar_fraction` leaves out pairs at 0 where they are so many that nothing would lie below them.
    const VERSION: u32 = 3;
    const ABOUT: &'static str = "fit regularized item and user biases and complete them to a simulated world";
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn check(&self) -> Result<(), (String, String)> {
        for (path, shrink) in
            [("item_regularization", self.item_regularization), ("user_regularization", self.user_regularization)]
        {
            if !(shrink >= 0.0 && shrink.is_finite()) {
                return Err((path.into(), "a count of ratings is 0 or more".into()));
            }
        }
        let [low, high] = self.range_without_ratings();
        if !(low < high && low.is_finite() && high.is_finite()) {
            return Err(("rating_range".into(), "the lowest and the highest rating, such as `[1, 5]`".into()));
        }
        self.ensemble().check()
    }

    fn requirements(&self) -> Vec<Requirement> {
        self.simulator.requirements(false)
    }

    fn sizes(&self, inputs: &Sizes) -> Sizes {
        self.simulator.sizes(inputs, self.ensemble().stored(inputs))
    }

    fn memory(&self, inputs: &Sizes) -> Option<MemoryNeed> {
        self.ensemble().memory(inputs, 2)
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let log = &inputs.interactions;
        ensure!(!log.is_empty() || inputs.item_scores.is_some(), "no interaction to fit a world on");
        inputs.check(false, NO_TASTE)?;
        let (users, items) = (inputs.users.len(), inputs.items.len());
        note_unread(&inputs.users, &inputs.items, cx);
        let weights = self.ensemble().weights(&inputs)?;
        let mut range = range(log);
        let fitted = match PriorMean::of(&inputs, cx)? {
            Some(prior) if log.is_empty() => {
                let [low, high] = self.range_without_ratings();
                range = (low as f32, high as f32);
                cx.note("fit", format!("no rating: the scores alone, from {low} to {high}"));
                let item = prior.scores.iter().map(|z| z * (high - low) / 4.0).collect();
                Biases { mean: (low + high) / 2.0, item, user: vec![0.0; users] }
            }
            None => self.biases(log, &weights.unwrap_or_else(|| vec![1.0; log.len()]), users, items),
            Some(prior) => {
                ensure!(
                    weights.is_none(),
                    "ratings are weighted by `propensities`, and the strength of `item_scores` is determined without weights\nhelp: set \
                     `ips: {{ weight_loss: false }}`, or leave one of the two inputs out"
                );
                prior.fitted.biases
            }
        };
        let mut curves = Curves::default();
        let scored = [("rmse.train", Some(log)), ("rmse.holdout", inputs.holdout.as_ref())];
        let said_of =
            |(&user, &item): (&u32, &u32)| rating(&fitted, user as usize, item as usize).clamp(range.0, range.1);
        for (series, log) in scored.into_iter().filter_map(|(series, log)| Some((series, log?))) {
            if !log.is_empty() {
                let said: Vec<f32> = log.user.iter().zip(&log.item).map(said_of).collect();
                curves.push(series, 1, mean_square(&said, log).sqrt());
            }
        }
        let member = Member { curves, model: Box::new(fitted) };
        self.ensemble().complete(vec![member], range, &inputs, cx)
    }
}

impl Bias {
    fn ensemble(&self) -> Ensemble<'_> {
        let Self { ips, form, simulator, .. } = self;
        Ensemble { members: 1, seed: 0, negatives: false, ips, form: *form, simulator }
    }

    fn range_without_ratings(&self) -> [f64; 2] {
        self.rating_range.unwrap_or([1.0, 5.0])
    }

    fn biases(&self, log: &Interactions, weights: &[f64], users: usize, items: usize) -> Biases {
        let regularization = Regularization { item: self.item_regularization, user: self.user_regularization };
        Biases::fit(log, weights, mean(log, Some(weights)), [users, items], regularization, None)
    }
}

/// r̂ of a user and an item.
fn rating(fitted: &Biases, user: usize, item: usize) -> f32 {
    (fitted.mean + fitted.item[item] + fitted.user[user]) as f32
}

impl Fitted for Biases {
    fn rows(&self, users: Range<usize>, items: usize) -> Result<Said> {
        let rating = users.flat_map(|user| (0..items).map(move |item| rating(self, user, item))).collect();
        Ok(Said { rating, variance: None })
    }
    fn states_variance(&self) -> Result<bool> {
        Ok(false)
    }
    fn factors(&self) -> Result<Option<Factors>> {
        let users = self.user.iter().flat_map(|bias| [(self.mean + bias) as f32, 1.0]).collect();
        let items = self.item.iter().flat_map(|&bias| [1.0, bias as f32]).collect();
        let array = |rows: usize, data| Array::new(&[rows, 2], data);
        Ok(Some(Factors::of_product(array(self.user.len(), users), array(self.item.len(), items))))
    }
    fn on_cpu(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{small_log, weighted};

    #[test]
    fn means_by_hand_plain_and_weighted() {
        let log = Interactions {
            user: vec![0, 0, 1],
            item: vec![0, 1, 0],
            rating: vec![5.0, 1.0, 3.0],
            timestamp: vec![0; 3],
        };
        let stage = Bias { item_regularization: 1.0, user_regularization: 2.0, ..Bias::default() };
        // μ = 3; b_0 = (2 + 0)/(2 + 1) = 2/3, b_1 = −2/2 = −1, b_2 = 0; user 0: (4/3 − 1)/(2 + 2) = 1/12, user 1: −2/3/3 = −2/9.
        let means = |log: &Interactions, weights: &[f64]| {
            let said = stage.biases(log, weights, 2, 3).rows(0..2, 3).unwrap();
            Array::new(&[2, 3], said.rating.into_iter().map(|x| x.clamp(range(log).0, range(log).1)).collect())
        };
        let found = means(&log, &[1.0; 3]);
        let wanted = [3.0 + 2.0 / 3.0 + 1.0 / 12.0, 2.0 + 1.0 / 12.0, 3.0 + 1.0 / 12.0];
        assert!(found.row(0).iter().zip(wanted).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-6), "{found:?}");
        assert!((f64::from(found.row(1)[2]) - (3.0 - 2.0 / 9.0)).abs() < 1e-6, "{found:?}");
        // A rating of weight 2 is one that came twice.
        let twice = log.take(&[0, 1, 2, 2]);
        let (weighted, repeated) = (means(&log, &[1.0, 1.0, 2.0]), means(&twice, &[1.0; 4]));
        assert_eq!(weighted, repeated);
    }

    #[test]
    fn it_is_scored_on_what_was_held_out() {
        let folder = tempfile::tempdir().unwrap();
        let simulator = UserSimulator { embedding_dim: 2, ..UserSimulator::default() };
        let stage = Bias { simulator, ..Bias::default() };
        let outputs = stage.run(weighted(small_log()), &Context::detached(folder.path())).unwrap();
        let series: Vec<&str> = outputs.curves.0.iter().map(|point| point.series.as_str()).collect();
        let ends = ["rmse.holdout.world", "mae.holdout.world", "nll.holdout.world", "rmse.holdout.world.ips"];
        assert_eq!(series, [["rmse.train", "rmse.holdout"].as_slice(), &ends].concat());
        assert_eq!(outputs.calibration.0.iter().map(|bin| bin.count).sum::<u32>(), 6);
        assert_eq!(outputs.world.ensemble_std, None);
    }

    #[test]
    fn a_log_of_another_catalogue_is_refused_with_the_sizes() {
        let folder = tempfile::tempdir().unwrap();
        let simulator = UserSimulator { embedding_dim: 2, ..UserSimulator::default() };
        let stage = Bias { simulator, ..Bias::default() };
        let error = |held: bool| {
            let mut inputs = weighted(small_log());
            let log = if held { inputs.holdout.as_mut().unwrap() } else { &mut inputs.interactions };
            log.item[2] = 8;
            stage.run(inputs, &Context::detached(folder.path())).err().unwrap().to_string()
        };
        assert!(error(false).starts_with("row 2 of the log at `interactions` is of user "), "{}", error(false));
        assert!(error(true).starts_with("row 2 of the log at `holdout` is of user "), "{}", error(true));
        assert!(error(true).contains("item 8, but there are 6 users and 8 items"), "{}", error(true));
        assert!(error(true).contains("\nhelp: ") && error(true).contains("filter.kcore"), "{}", error(true));
    }

    #[test]
    fn a_log_of_one_rating_is_refused_with_what_helps() {
        let folder = tempfile::tempdir().unwrap();
        let simulator = UserSimulator { embedding_dim: 2, ..UserSimulator::default() };
        let mut inputs = small_log();
        inputs.interactions.rating.fill(1.0);
        let stage = Bias { simulator, ..Bias::default() };
        let error = stage.run(inputs, &Context::detached(folder.path())).err().unwrap().to_string();
        assert!(
            error.starts_with("all 30 ratings at `interactions` are 1: they hold no preferences to fit"),
            "{error}"
        );
        assert!(
            error.contains("\nhelp: name the log's ratings") && error.contains("`sample_negatives: true`"),
            "{error}"
        );
    }

    #[test]
    fn propensities_that_only_score_leave_the_fit_alone() {
        let folder = tempfile::tempdir().unwrap();
        let run = |fit: bool, connected: bool| {
            let simulator = UserSimulator { embedding_dim: 2, ..UserSimulator::default() };
            let stage = Bias { ips: Ips { weight_loss: fit, ..Ips::default() }, simulator, ..Bias::default() };
            let mut inputs = weighted(small_log());
            inputs.propensities = inputs.propensities.filter(|_| connected);
            stage.run(inputs, &Context::detached(folder.path())).unwrap()
        };
        let (plain, scored, fitted) = (run(true, false), run(false, true), run(true, true));
        assert!(plain.world == scored.world && plain.world != fitted.world);
        assert_eq!(plain.curves.0, scored.curves.0[..plain.curves.0.len()]);
        assert_eq!(scored.curves.0.last().unwrap().series, "rmse.holdout.world.ips");
    }
}
