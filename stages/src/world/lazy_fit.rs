//! Fits by steps of the rows that a batch uses.
//!
//! L = mean(w·loss) + l2/R·Σ_pairs Σ_θ |θ|²/n_θ over the R ratings of a batch and what its pairs look up; n_θ is how often an epoch
//! uses θ. In expectation over the order, the second term is l2·|θ|²/N at each step, as in steps of all rows.

use anyhow::{Context as _, Result};
use candle_core::Tensor;
use pipeline::progress::Bar;

use super::factor_steps::FactorSteps;
use super::fit_settings::Fit;
use super::lookups::{PenaltyWeights, Uses, clear_unused_rows};
use super::rated_log::{Ratings, Sample};
use super::rating_model::{RatingModel, losses};
use super::row_batches::Batches;
use super::shuffled_log::{Batch, ShuffledLog};
use crate::nn::{AdamW, Params};

/// A fit by lazy steps.
pub(super) struct LazyFit<'m> {
    log: ShuffledLog,
    steps: Steps<'m>,
    batch_size: usize,
    seed: u64,
}

enum Steps<'m> {
    Graph(GraphSteps<'m>),
    Factors(Box<FactorSteps>),
}

impl<'m> LazyFit<'m> {
    /// That of `model`, after `done` epochs.
    pub fn new(
        fit: &Fit,
        model: &'m dyn RatingModel,
        ratings: &Ratings<'_>,
        (params, adam): (&Params, &AdamW),
        done: u64,
    ) -> Result<Self> {
        let uses = Uses::of(ratings);
        if done == 0 && fit.l2 > 0.0 {
            clear_unused_rows(params, &model.table_uses(&uses)?)?;
        }
        let steps = match model.intercepts().filter(|_| params.device().is_cpu()) {
            Some(intercepts) => Steps::Factors(Box::new(FactorSteps::new(intercepts, &uses, fit.l2, (params, adam))?)),
            None => Steps::Graph(GraphSteps::new(model, params, &uses, fit.l2)?),
        };
        Ok(Self { log: ShuffledLog::default(), steps, batch_size: fit.batch_size, seed: fit.seed })
    }

    /// One pass over the log, and Σ of the ratings' squared errors, each before its step.
    /// Each batch moves `bar` by its ratings.
    pub fn epoch(
        &mut self,
        ratings: &Ratings<'_>,
        epoch: u64,
        (params, adam): (&Params, &mut AdamW),
        bar: &Bar,
    ) -> Result<f64> {
        let path = [self.seed, epoch];
        self.log.shuffle(ratings, path);
        let batches = Batches { samples: self.log.batches(self.batch_size).collect(), ratings, path, bar };
        let squares = match &mut self.steps {
            Steps::Graph(steps) => steps.epoch(&batches, (params, adam)),
            Steps::Factors(steps) => steps.epoch(&batches, (params, adam)),
        };
        squares.with_context(|| format!("epoch {epoch}"))
    }
}

/// Steps of any model, through candle.
struct GraphSteps<'m> {
    model: &'m dyn RatingModel,
    weights: PenaltyWeights,
    l2: f64,
}

impl<'m> GraphSteps<'m> {
    fn new(model: &'m dyn RatingModel, params: &Params, uses: &Uses, l2: f64) -> Result<Self> {
        let weights = PenaltyWeights::new(&model.table_uses(uses)?, uses.pairs(), params.device())?;
        Ok(Self { model, weights, l2 })
    }

    /// The loss of a batch, a scalar, and the squared errors of its pairs, `[B]`.
    fn loss(&self, batch: &Batch, weighted: bool, params: &Params) -> Result<(Tensor, Tensor)> {
        let device = params.device();
        let ids = |of: fn(&Sample) -> u32| Tensor::from_iter(batch.pairs.iter().map(of), device);
        let numbers = |of: fn(&Sample) -> f32| Tensor::from_iter(batch.pairs.iter().map(of), device);
        let (predicted, penalty) =
            self.model.look_up(&ids(|pair| pair.user)?, &ids(|pair| pair.item)?, &self.weights)?;
        let squared = (&predicted.rating - numbers(|pair| pair.rating)?)?.sqr()?;
        let weight = weighted.then(|| numbers(|pair| pair.weight)).transpose()?;
        let error = losses(&squared, predicted.log_variance.as_ref(), weight.as_ref())?.mean_all()?;
        Ok(((error + (penalty * (self.l2 / batch.ratings as f64))?)?, squared))
    }

    fn epoch(&self, batches: &Batches<'_>, (params, adam): (&Params, &mut AdamW)) -> Result<f64> {
        let (mut squares, mut batch) = (0.0, Batch::default());
        for number in 0..batches.len() {
            batches.fill(number, &mut batch);
            let (loss, squared) = self.loss(&batch, batches.weighted(), params)?;
            squares += f64::from(squared.narrow(0, 0, batch.ratings)?.sum_all()?.to_scalar::<f32>()?);
            adam.descend(params, &loss)?;
            batches.stepped(number);
        }
        Ok(squares)
    }
}

#[cfg(test)]
mod tests {
    use pipeline::{Context, Stage};
    use rand::RngExt;

    use crate::artifact::{Array, Interactions, ItemVectors, Items, Users};
    use crate::nn::rng;
    use crate::nn::training::assert_resumes_exactly;
    use crate::world::embedding_updates::EmbeddingUpdates::{Dense, Lazy};
    use crate::world::{DeepFm, Inputs, MatrixFactorisation, Outputs, UserSimulator, small_log, weighted};

    fn simulator() -> UserSimulator {
        UserSimulator { embedding_dim: 2, ..UserSimulator::default() }
    }

    fn mf() -> MatrixFactorisation {
        MatrixFactorisation {
            n_epochs: 3,
            batch_size: 5,
            embedding_updates: Lazy,
            simulator: simulator(),
            ..MatrixFactorisation::default()
        }
    }

    fn deepfm() -> DeepFm {
        DeepFm {
            n_epochs: 2,
            batch_size: 5,
            ensemble_size: 2,
            embedding_updates: Lazy,
            simulator: simulator(),
            ..DeepFm::default()
        }
    }

    fn run<S: Stage<Inputs = Inputs, Outputs = Outputs>>(stage: &S, inputs: Inputs) -> Outputs {
        let folder = tempfile::tempdir().unwrap();
        stage.run(inputs, &Context::detached(folder.path())).unwrap()
    }

    /// Vectors that are all alike say nothing, but factors beside them are stepped through candle.
    #[test]
    fn fused_steps_are_those_of_the_graph() {
        let inputs = |vectors: bool| {
            let mut inputs = weighted(small_log());
            let vectors = vectors.then(|| Array::new(&[8, 1], vec![1.0; 8]));
            inputs.item_vectors =
                vectors.map(|vectors| ItemVectors { vectors, space: "none".into(), columns: Vec::new() });
            inputs.item_scores = Some(crate::artifact::ItemScores {
                score: (0..8_u32).map(|item| Some(f64::from(item % 3))).collect(),
                questions: Vec::new(),
            });
            inputs
        };
        // Propensities weigh the fit, and scores are a prior mean.
        let plain = MatrixFactorisation { ensemble_size: 2, ..mf() };
        let mut clipped = plain.clone();
        (clipped.optimizer.max_grad_norm, clipped.optimizer.weight_decay) = (Some(0.1), 0.1);
        for stage in [MatrixFactorisation { sample_negatives: true, ..plain }, clipped] {
            let (fused, graph) = (run(&stage, inputs(false)), run(&stage, inputs(true)));
            let differences = fused.curves.0.iter().zip(&graph.curves.0).map(|(a, b)| (a.value - b.value).abs());
            assert!(differences.fold(0.0, f64::max) < 1e-4, "{:?} {:?}", fused.curves, graph.curves);
        }
    }

    #[test]
    fn interrupted_after_every_epoch_it_ends_the_same() {
        let compared = |outputs: Outputs| (outputs.world, outputs.curves, outputs.calibration);
        assert_resumes_exactly(&mf(), small_log, compared, 3);
        let several = MatrixFactorisation { ensemble_size: 2, sample_negatives: true, ..mf() };
        assert_resumes_exactly(&several, || weighted(small_log()), compared, 6);
        assert_resumes_exactly(&deepfm(), || weighted(small_log()), compared, 4);
    }

    #[test]
    fn equal_bytes_on_any_number_of_threads() {
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let several = MatrixFactorisation { ensemble_size: 3, batch_size: 300, sample_negatives: true, ..mf() };
                let outputs = (run(&several, planted()), run(&deepfm(), weighted(small_log())));
                (outputs.0.world, outputs.0.curves, outputs.1.world, outputs.1.curves)
            })
        };
        let alone = on(1);
        assert!(on(2) == alone && on(16) == alone);
    }

    /// 150 users and 100 items, of which the last 5 are never rated; ratings of rank 2 with noise, few of some items and many of others.
    fn planted() -> Inputs {
        let (users, items) = (150_u32, 100_u32);
        let mut draw = rng(&[3, 0x9a7]);
        let mut normal = || (0..12).map(|_| draw.random::<f32>()).sum::<f32>() - 6.0;
        let factors: Vec<[f32; 3]> = (0..users + items).map(|_| [normal(), normal(), normal()]).collect();
        let (mut train, mut holdout) = (Interactions::default(), Interactions::default());
        for (user, item) in (0..users).flat_map(|user| (0..items).map(move |item| (user, item))) {
            let (p, q) = (factors[user as usize], factors[(users + item) as usize]);
            let (chance, noise) = (normal(), normal());
            if item >= 95 || chance < 0.3 + item as f32 / 60.0 {
                continue;
            }
            let log = if (user * 7 + item * 3) % 5 == 0 { &mut holdout } else { &mut train };
            log.user.push(user);
            log.item.push(item);
            log.rating.push(3.0 + 0.4 * (p[0] + q[0]) + 0.5 * (p[1] * q[1] + p[2] * q[2]) + 0.3 * noise);
            log.timestamp.push(0);
        }
        let names = |letter: char, count: u32| (0..count).map(|k| format!("{letter}{k}")).collect::<Vec<_>>();
        let items = Items {
            id: names('i', items),
            title: names('i', items),
            year: vec![None; items as usize],
            genres: vec![vec![]; items as usize],
            ..Items::default()
        };
        let users = Users { id: names('u', users), ..Users::default() };
        Inputs { interactions: train, items, users, holdout: Some(holdout), ..small_log() }
    }

    #[test]
    fn lazy_fits_err_on_what_was_held_out_as_dense_ones_do() {
        let held_out = |outputs: Outputs| {
            let last = outputs.curves.0.iter().rfind(|point| point.series == "rmse.holdout.world");
            (last.unwrap().value, outputs.world)
        };
        let by = |embedding_updates| {
            let mf = MatrixFactorisation { n_epochs: 40, batch_size: 128, embedding_updates, ..mf() };
            let deepfm = DeepFm { n_epochs: 8, batch_size: 128, embedding_updates, ..deepfm() };
            [held_out(run(&mf, planted())), held_out(run(&deepfm, planted()))]
        };
        let (dense, lazy) = (by(Dense), by(Lazy));
        for ((dense, _), (lazy, _)) in dense.iter().zip(&lazy) {
            assert!(*dense < 0.9 && (lazy - dense).abs() < 0.03, "{dense} {lazy}");
        }
    }
}
