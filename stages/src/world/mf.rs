//! Matrix factorisation with biases: r̂(u, i) = μ + b_u + b_i + p_u · q_i (Koren, Bell and Volinsky 2009, eq. 5).
//!
//! Where vectors of the items are connected, b_i and q_i are an item's own plus a linear map of its vector (`dense_field.rs`). Where
//! `features` declares columns, b and (p, q) are a row's own plus the embeddings of its columns (`side_features.rs`).
//!
//! Left out: implicit feedback, time. Weight decay stands for the paper's λ.

use anyhow::Result;
use candle_core::Tensor;
use pipeline::{Context, MemoryNeed, Requirement, Sizes, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::dense_field::{DenseField, item_vectors};
use super::embedding_updates::EmbeddingUpdates;
use super::ensemble::Ensemble;
use super::factor_steps::Intercepts;
use super::fit_settings::Fit;
use super::lookups::{PenaltyWeights, TableUses, Uses};
use super::rating_model::{Predicted, RatingModel};
use super::side_features::{Declarations, FeatureTable, Undeclared, sum};
use super::{Inputs, Ips, Outputs, UserSimulator, WorldForm};
use crate::artifact::{Array, Factors};
use crate::features::Features;
use crate::nn::{Init, Optimizer, OptimizerDefaults, Params, Schedule, embedding};

/// `world.mf`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MatrixFactorisation {
    /// Number of factors: the dimension of p and q.
    pub n_factors: usize,
    /// The columns of items and of users whose embeddings are added to an item's or a user's own, and what each is read as. No other column
    /// is read; the run notes them.
    #[serde(skip_serializing_if = "Features::is_default")]
    pub features: Features,
    /// Number of models, each fitted with its own seed. The world holds their mean and their standard deviation.
    pub ensemble_size: u64,
    /// Passes over the log.
    pub n_epochs: u64,
    /// Ratings per gradient step.
    pub batch_size: usize,
    /// AdamW and its learning rate, which changes from epoch to epoch.
    pub optimizer: Optimizer<MatrixFactorisation>,
    /// Which rows of the tables of users and items a step changes: `auto` is `lazy` beyond 50,000 users and items.
    #[serde(skip_serializing_if = "EmbeddingUpdates::is_auto")]
    pub embedding_updates: EmbeddingUpdates,
    /// λ of λ·|θ|² beside the sum of squared errors; a rating counts against it once.
    pub l2: f64,
    /// Seed of the initial weights and of the order of batches; each member takes the next one.
    pub seed: u64,
    /// Whether each rating is paired with an item that the user did not rate, drawn anew each epoch and fitted to 0, as in
    /// EasyRL4Rec: unrated items then count as bad. Off by default.
    pub sample_negatives: bool,
    /// Inverse propensity weighting; only with the input `propensities`.
    pub ips: Ips,
    /// Whether the world stores a reward for each user and item, or the factors: `auto`, `dense` or `factored`.
    #[serde(skip_serializing_if = "WorldForm::is_auto")]
    pub form: WorldForm,
    /// How simulated users behave in the completed world.
    pub simulator: UserSimulator,
}

impl OptimizerDefaults for MatrixFactorisation {
    const LEARNING_RATE: f64 = 0.005;
    const WEIGHT_DECAY: f64 = 0.0;
    const MAX_GRAD_NORM: Option<f64> = None;
    const SCHEDULE: Schedule = Schedule::Constant;
}

impl Default for MatrixFactorisation {
    fn default() -> Self {
        // Chosen on a held-out split of MovieLens-100K.
        Self {
            n_factors: 16,
            features: Features::default(),
            ensemble_size: 1,
            n_epochs: 20,
            batch_size: 1024,
            optimizer: Optimizer::default(),
            embedding_updates: EmbeddingUpdates::Auto,
            l2: 4.0,
            seed: 0,
            sample_negatives: false,
            ips: Ips::default(),
            form: WorldForm::Auto,
            simulator: UserSimulator::default(),
        }
    }
}

impl Stage for MatrixFactorisation {
    const KIND: &'static str = "world.mf";
    /// 1: first. 2: calibration, deviation and categories. 3: the world says whose its distances are.
    /// 4: steps of training are fused, so sums round otherwise.
    /// 5: `similar_fraction` leaves out pairs at 0 where they are so many that nothing would lie below them.
    const VERSION: u32 = 5;
    const ABOUT: &'static str = "fit matrix factorisation to ratings and complete it to a simulated world";
    const USES_DEVICE: bool = true;
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn check(&self) -> Result<(), (String, String)> {
        if self.n_factors == 0 {
            return Err(("n_factors".into(), "a factorisation has at least one factor".into()));
        }
        self.features.check().map_err(|(path, message)| (format!("features.{path}"), message))?;
        self.fit(String::new(), self.seed).check()?;
        self.ensemble().check()
    }

    fn requirements(&self) -> Vec<Requirement> {
        self.simulator.requirements(true)
    }

    fn sizes(&self, inputs: &Sizes) -> Sizes {
        self.simulator.sizes(inputs, self.ensemble().stored(inputs))
    }

    fn memory(&self, inputs: &Sizes) -> Option<MemoryNeed> {
        self.ensemble().memory(inputs, 2 + self.n_factors)
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let (users, items) = (inputs.users.len(), inputs.items.len());
        inputs.interactions.check_within("interactions", users, items)?;
        let (vectors, tables) = (inputs.item_vectors.as_ref(), (&inputs.users, &inputs.items));
        let declared =
            Declarations::of(&self.features, tables, &inputs.interactions, vectors, Undeclared::LeftOut, cx)?;
        let vectors = item_vectors(vectors, items)?;
        let build = |params: &mut Params, seed, mean| {
            Model::new(params, self, (users, items), (vectors.as_ref(), &declared), mean, seed)
        };
        let mut outputs = self.ensemble().run(&inputs, cx, |name, seed| self.fit(name, seed), build)?;
        outputs.world.item_features = declared.item_features(items);
        Ok(outputs)
    }
}

impl MatrixFactorisation {
    fn ensemble(&self) -> Ensemble<'_> {
        let Self { ensemble_size, seed, sample_negatives, ips, form, simulator, .. } = self;
        let (members, seed, negatives) = (*ensemble_size, *seed, *sample_negatives);
        Ensemble { members, seed, negatives, ips, form: *form, simulator }
    }

    fn fit(&self, name: String, seed: u64) -> Fit {
        let Self { n_epochs, batch_size, embedding_updates, l2, .. } = *self;
        Fit { name, n_epochs, batch_size, embedding_updates, optimizer: self.optimizer.untyped(), l2, seed }
    }
}

pub(super) struct Model {
    mean: f64,
    user_bias: Tensor,
    item_bias: Tensor,
    user: Tensor,
    item: Tensor,
    /// To a bias and `n_factors` numbers, which are added to the item's own.
    vectors: Option<DenseField>,
    /// Of declared columns, likewise.
    user_features: Option<FeatureTable>,
    item_features: Option<FeatureTable>,
}

impl Model {
    pub fn new(
        params: &mut Params,
        config: &MatrixFactorisation,
        (users, items): (usize, usize),
        (vectors, declared): (Option<&Array>, &Declarations),
        mean: f64,
        seed: u64,
    ) -> Result<Self> {
        let (mut init, width) = (Init::new(seed), 1 + config.n_factors);
        Ok(Self {
            mean,
            user_bias: params.add("user_bias", &init.normal(&[users, 1], 0.0)?)?,
            item_bias: params.add("item_bias", &init.normal(&[items, 1], 0.0)?)?,
            user: params.add("user", &init.normal(&[users, config.n_factors], 0.1)?)?,
            item: params.add("item", &init.normal(&[items, config.n_factors], 0.1)?)?,
            vectors: vectors
                .map(|vectors| DenseField::new(params, "item_vectors", vectors, width, &mut init))
                .transpose()?,
            user_features: FeatureTable::new(
                params,
                "user_features",
                declared.users.as_ref(),
                users,
                width,
                &mut init,
            )?,
            item_features: FeatureTable::new(
                params,
                "item_features",
                declared.items.as_ref(),
                items,
                width,
                &mut init,
            )?,
        })
    }
}

/// The rows of B pairs.
struct Rows {
    /// `[B, 1]`.
    user_bias: Tensor,
    item_bias: Tensor,
    /// `[B, D]`.
    user: Tensor,
    item: Tensor,
}

impl Model {
    fn rows(
        &self,
        lookup: impl Fn(&Tensor, &Tensor) -> candle_core::Result<Tensor>,
        ids: [&Tensor; 2],
    ) -> Result<Rows> {
        let [user, item] = ids;
        Ok(Rows {
            item: lookup(&self.item, item)?,
            item_bias: lookup(&self.item_bias, item)?,
            user: lookup(&self.user, user)?,
            user_bias: lookup(&self.user_bias, user)?,
        })
    }

    /// What is added to users' and items' own bias and factors, `[B, 1 + D]` each; `vectors` is what the items' vectors say.
    fn added(&self, user: &Tensor, item: &Tensor, vectors: Option<Tensor>) -> Result<[Option<Tensor>; 2]> {
        let of = |table: &Option<FeatureTable>, ids: &Tensor| table.as_ref().map(|table| table.rows(ids)).transpose();
        Ok([of(&self.user_features, user)?, sum(vectors, of(&self.item_features, item)?)?])
    }

    /// |θ|² of what all pairs use; `None` where that is nothing.
    fn shared_size(&self) -> Result<Option<Tensor>> {
        let mut size = self.vectors.as_ref().map(DenseField::size).transpose()?;
        for table in [&self.user_features, &self.item_features] {
            size = sum(size, table.as_ref().map(FeatureTable::size).transpose()?)?;
        }
        Ok(size)
    }

    /// The ratings of these rows, to which `added` is added.
    fn ratings(&self, rows: &Rows, [of_users, of_items]: [Option<Tensor>; 2]) -> Result<Predicted> {
        let [user_bias, user] = plus([&rows.user_bias, &rows.user], of_users)?;
        let [bias, factors] = plus([&rows.item_bias, &rows.item], of_items)?;
        let product = (user * factors)?.sum(1)?;
        let biases = (user_bias + bias)?.squeeze(1)?;
        Ok(Predicted { rating: ((product + biases)? + self.mean)?, log_variance: None })
    }
}

/// A bias `[B, 1]` and factors `[B, D]` with what is added to them, `[B, 1 + D]`.
fn plus([bias, factors]: [&Tensor; 2], added: Option<Tensor>) -> candle_core::Result<[Tensor; 2]> {
    Ok(match added {
        None => [bias.clone(), factors.clone()],
        Some(added) => [(bias + added.narrow(1, 0, 1)?)?, (factors + added.narrow(1, 1, added.dim(1)? - 1)?)?],
    })
}

impl RatingModel for Model {
    fn predict(&self, user: &Tensor, item: &Tensor) -> Result<Predicted> {
        let rows = self.rows(|table, ids| table.index_select(ids, 0), [user, item])?;
        let vectors = self.vectors.as_ref().map(|vectors| vectors.rows(item)).transpose()?;
        self.ratings(&rows, self.added(user, item, vectors)?)
    }

    fn factors(&self) -> Result<Option<Factors>> {
        let [users, items] =
            [&self.user, &self.item].map(|table| Tensor::arange(0, table.dim(0)? as u32, table.device()));
        let (users, items) = (users?, items?);
        let vectors = self.vectors.as_ref().map(|vectors| vectors.rows(&items)).transpose()?;
        let [of_users, of_items] = self.added(&users, &items, vectors)?;
        let [user_bias, user] = plus([&self.user_bias, &self.user], of_users)?;
        let [bias, factors] = plus([&self.item_bias, &self.item], of_items)?;
        let user_bias = (user_bias + self.mean)?;
        let array = |parts: [&Tensor; 3]| -> Result<Array> {
            let rows = Tensor::cat(&parts, 1)?;
            Ok(Array::new(rows.dims(), rows.flatten_all()?.to_vec1()?))
        };
        let users = array([&user, &user_bias, &user_bias.ones_like()?])?;
        Ok(Some(Factors::of_product(users, array([&factors, &bias.ones_like()?, &bias])?)))
    }

    fn dense_field(&self) -> Option<&DenseField> {
        self.vectors.as_ref()
    }

    fn size(&self) -> Result<Tensor> {
        let mut size = self.user_bias.sqr()?.sum_all()?;
        for table in [&self.item_bias, &self.user, &self.item] {
            size = (size + table.sqr()?.sum_all()?)?;
        }
        match self.shared_size()? {
            Some(shared) => Ok((size + shared)?),
            None => Ok(size),
        }
    }

    fn table_uses(&self, uses: &Uses) -> Result<TableUses> {
        let of_users = ["user_bias", "user"].map(|name| (name, uses.user.clone()));
        let of_items = ["item_bias", "item"].map(|name| (name, uses.item.clone()));
        Ok(of_users.into_iter().chain(of_items).collect())
    }

    fn look_up(&self, user: &Tensor, item: &Tensor, weights: &PenaltyWeights) -> Result<(Predicted, Tensor)> {
        let rows = self.rows(embedding, [user, item])?;
        let squares = |bias: &Tensor, factors: &Tensor| bias.sqr()?.squeeze(1)? + factors.sqr()?.sum(1)?;
        let of_users = (squares(&rows.user_bias, &rows.user)? * weights.of("user", user)?)?;
        let of_items = (squares(&rows.item_bias, &rows.item)? * weights.of("item", item)?)?;
        let mut penalty = (of_users + of_items)?.sum_all()?;
        if let Some(shared) = self.shared_size()? {
            penalty = (penalty + (shared * weights.of_shared(user.dim(0)?))?)?;
        }
        let vectors = self.vectors.as_ref().map(|vectors| vectors.look_up(item)).transpose()?;
        Ok((self.ratings(&rows, self.added(user, item, vectors)?)?, penalty))
    }

    fn intercepts(&self) -> Option<Intercepts> {
        let alone = self.vectors.is_none() && self.user_features.is_none() && self.item_features.is_none();
        alone.then(|| Intercepts { mean: self.mean, items: Vec::new() })
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::artifact::Propensities;
    use crate::nn::gradient_check::assert_every_parameter_learns;
    use crate::nn::training::assert_resumes_exactly;
    use crate::world::lookups::assert_lookups_are_predictions;
    use crate::world::rated_log::Ratings;
    use crate::world::{small_log, weighted};

    #[test]
    fn every_parameter_learns_and_a_prediction_is_the_sum_by_hand() {
        let mut params = Params::default();
        let model =
            Model::new(&mut params, &MatrixFactorisation::default(), (2, 2), (None, &Declarations::default()), 3.0, 0)
                .unwrap();
        let (user, item) =
            (Tensor::new(&[0_u32, 1], &Device::Cpu).unwrap(), Tensor::new(&[1_u32, 0], &Device::Cpu).unwrap());
        assert_every_parameter_learns(&params, || model.predict(&user, &item).unwrap().rating.sqr()?.sum_all());
        let (p, q) = (model.user.to_vec2::<f32>().unwrap(), model.item.to_vec2::<f32>().unwrap());
        let by_hand = 3.0 + p[0].iter().zip(&q[1]).map(|(a, b)| a * b).sum::<f32>();
        let found = model.predict(&user, &item).unwrap().rating.to_vec1::<f32>().unwrap()[0];
        assert!((found - by_hand).abs() < 1e-6, "{found} {by_hand}");
    }

    #[test]
    fn lookups_give_the_predictions_and_over_an_epoch_the_size() {
        let log = small_log().interactions;
        let ratings = Ratings { log: &log, shape: [7, 9], weights: None, negatives: None, holdout: None };
        let vectors = Array::new(&[9, 2], (0..18).map(|k| (k % 5) as f32 - 2.0).collect());
        for vectors in [None, Some(&vectors)] {
            let mut params = Params::default();
            let model = Model::new(
                &mut params,
                &MatrixFactorisation::default(),
                (7, 9),
                (vectors, &Declarations::default()),
                3.0,
                0,
            )
            .unwrap();
            assert_lookups_are_predictions(&params, &model, &ratings);
            assert!(model.user.get(6).unwrap().to_vec1::<f32>().unwrap().iter().all(|&x| x == 0.0), "nobody's row");
        }
    }

    #[test]
    fn a_holdout_without_propensities_is_refused_before_anything_is_fitted() {
        let folder = tempfile::tempdir().unwrap();
        for fit in [true, false] {
            let mut inputs = weighted(small_log());
            let (log, all) = (&inputs.interactions, inputs.propensities.as_ref().unwrap());
            let pairs = log.user.iter().zip(&log.item).zip(all.of(log).unwrap()).map(|((&u, &i), p)| (u, i, p));
            inputs.propensities = Some(Propensities::new(pairs.collect()).unwrap());
            let simulator = UserSimulator { embedding_dim: 2, ..UserSimulator::default() };
            let ips = Ips { weight_loss: fit, ..Ips::default() };
            let stage = MatrixFactorisation { n_epochs: 2, ips, simulator, ..MatrixFactorisation::default() };
            let error = format!("{:#}", stage.run(inputs, &Context::detached(folder.path())).err().unwrap());
            assert!(error.starts_with("the hold-out: user ") && error.contains("no propensity of that"), "{error}");
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "a fit leaves checkpoints");
        }
    }

    #[test]
    fn a_log_of_one_rating_is_fitted_only_beside_what_was_not_chosen() {
        let folder = tempfile::tempdir().unwrap();
        let run = |negatives: bool, rating: f32| {
            let mut inputs = small_log();
            inputs.interactions.rating.fill(rating);
            let simulator = UserSimulator { embedding_dim: 2, ..UserSimulator::default() };
            let stage = MatrixFactorisation {
                n_epochs: 1,
                sample_negatives: negatives,
                simulator,
                ..MatrixFactorisation::default()
            };
            stage.run(inputs, &Context::detached(folder.path())).map_err(|error| error.to_string())
        };
        for (negatives, rating) in [(false, 1.0), (false, 0.0), (true, 0.0)] {
            let error = run(negatives, rating).err().unwrap();
            assert!(error.starts_with(&format!("all 30 ratings at `interactions` are {rating}: ")), "{error}");
            assert!(error.contains("\nhelp: ") && error.contains("`sample_negatives: true`"), "{error}");
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "a fit leaves checkpoints");
        }
        assert!(run(true, 1.0).is_ok());
    }

    #[test]
    fn interrupted_after_every_epoch_it_ends_the_same() {
        let simulator = UserSimulator { embedding_dim: 2, ..UserSimulator::default() };
        let stage = MatrixFactorisation { n_epochs: 4, batch_size: 5, simulator, ..MatrixFactorisation::default() };
        assert_resumes_exactly(&stage, small_log, |outputs| (outputs.world, outputs.curves), 4);
        let several = MatrixFactorisation { ensemble_size: 2, n_epochs: 2, sample_negatives: true, ..stage };
        let compared = |outputs: Outputs| (outputs.world, outputs.curves, outputs.calibration);
        assert_resumes_exactly(&several, || weighted(small_log()), compared, 4);
    }
}
