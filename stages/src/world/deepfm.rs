//! DeepFM (Guo et al. 2017): a factorisation machine and a network over the same field embeddings.
//!
//! r̂ = μ + Σ_f w_f + Σ_{f<g} ⟨v_f, v_g⟩ + MLP([v_1 … v_F]); fields are the user, the user's features, the item, its year,
//! its genres (a genre field is the mean of the item's genres), its other features and, where it is connected, its vector
//! (`item_vectors`, mapped linearly). `features` declares other fields: a number's is z·v of its column (Rendle 2010, eq. 1), a column of
//! several values has the mean of their embeddings. With `predict_variance`, the network's second
//! output says how far r̂ may be off: ln σ² = 6·tanh(MLP₂/6). Left out: the log-loss head for clicks.

use anyhow::Result;
use candle_core::{DType, Tensor};
use pipeline::{Context, MemoryNeed, Requirement, Sizes, Stage};

use super::deepfm_factors::factors;
use super::deepfm_model::Model;
use super::deepfm_settings::DeepFm;
use super::dense_field::{DenseField, item_vectors};
use super::ensemble::Ensemble;
use super::fields::Fields;
use super::fit_settings::Fit;
use super::lookups::{PenaltyWeights, TableUses, Uses};
use super::rating_model::{Predicted, RatingModel};
use super::side_features::{Declarations, Undeclared};
use super::{Inputs, Outputs};
use crate::artifact::Factors;
use crate::nn::{Params, embedding};

impl Stage for DeepFm {
    const KIND: &'static str = "world.deepfm";
    /// 1: first. 2: calibration, deviation and categories; items have features. 3: the world says whose its
    /// distances are. 4: with `predict_variance` it says what its models state of themselves; steps of training are fused, so sums round
    /// otherwise.
    /// 5: gradients are summed in parts, for threads, so they round otherwise.
    /// 6: `similar_fraction` leaves out pairs at 0 where they are so many that nothing would lie below them.
    const VERSION: u32 = 6;
    const ABOUT: &'static str = "fit DeepFM to ratings and features and complete it to a simulated world";
    const USES_DEVICE: bool = true;
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn check(&self) -> Result<(), (String, String)> {
        if self.embedding == 0 {
            return Err(("embedding".into(), "a field's embedding has at least one number".into()));
        }
        if self.hidden.contains(&0) {
            return Err(("hidden".into(), "a layer has at least one unit".into()));
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
        // A row of the table, and what is stored of it for the network's first layer.
        self.ensemble().memory(inputs, 3 + self.embedding + self.hidden.first().unwrap_or(&1) / 4)
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let Inputs { users, items, interactions, .. } = &inputs;
        interactions.check_within("interactions", users.len(), items.len())?;
        let (undeclared, tables) = (Undeclared::UpTo(self.max_cardinality), (users, items));
        let declared =
            Declarations::of(&self.features, tables, interactions, inputs.item_vectors.as_ref(), undeclared, cx)?;
        let fields = Fields::new(users, items, self.max_cardinality, &declared)?;
        let vectors = item_vectors(inputs.item_vectors.as_ref(), items.len())?;
        let build = |params: &mut Params, seed, mean| Model::new(params, self, &fields, vectors.as_ref(), mean, seed);
        let mut outputs = self.ensemble().run(&inputs, cx, |name, seed| self.fit(name, seed), build)?;
        outputs.world.item_features = declared.item_features(items.len());
        Ok(outputs)
    }
}

impl DeepFm {
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

impl RatingModel for Model {
    fn predict(&self, user: &Tensor, item: &Tensor) -> Result<Predicted> {
        let rows = self.table.index_select(&self.ids(user, item)?, 0)?;
        let vectors = self.vectors.as_ref().map(|vectors| vectors.rows(item)).transpose()?;
        self.ratings(&rows, self.fields.weights(user, item)?.as_ref(), item, vectors)
    }

    fn factors(&self) -> Result<Option<Factors>> {
        factors(self).map(Some)
    }

    fn dense_field(&self) -> Option<&DenseField> {
        self.vectors.as_ref()
    }

    fn size(&self) -> Result<Tensor> {
        let mut size = self.table.sqr()?.sum_all()?;
        if let Some(genres) = &self.genre_table {
            size = (size + genres.sqr()?.sum_all()?)?;
        }
        Ok(match &self.vectors {
            Some(vectors) => (size + vectors.size()?)?,
            None => size,
        })
    }

    fn table_uses(&self, uses: &Uses) -> Result<TableUses> {
        let mut rows = vec![0.0; self.fields.rows];
        self.fields.user.add_uses(&uses.user, &mut rows)?;
        self.fields.item.add_uses(&uses.item, &mut rows)?;
        Ok(TableUses::from([("table", rows)]))
    }

    fn look_up(&self, user: &Tensor, item: &Tensor, weights: &PenaltyWeights) -> Result<(Predicted, Tensor)> {
        let ids = self.ids(user, item)?;
        let rows = embedding(&self.table, &ids)?;
        let mut of_rows = (rows.sqr()?.sum(1)? * weights.of("table", &ids)?)?;
        let of_slots = self.fields.weights(user, item)?;
        if let Some(of_slots) = &of_slots {
            // A slot of weight 0 uses no row.
            of_rows = (of_rows * of_slots.ne(0.0)?.to_dtype(DType::F32)?.flatten_all()?)?;
        }
        let mut penalty = of_rows.sum_all()?;
        if let Some(shared) = self.shared_size()? {
            penalty = (penalty + (shared * weights.of_shared(user.dim(0)?))?)?;
        }
        let vectors = self.vectors.as_ref().map(|vectors| vectors.look_up(item)).transpose()?;
        Ok((self.ratings(&rows, of_slots.as_ref(), item, vectors)?, penalty))
    }
}

#[cfg(test)]
mod tests {
    use crate::artifact::Array;
    use crate::world::UserSimulator;
    use crate::world::WorldForm;
    use crate::world::heteroscedastic;
    use candle_core::Module;
    use std::collections::BTreeMap;

    use candle_core::Device;

    use super::*;
    use crate::artifact::{Interactions, Items, Users};
    use crate::nn::gradient_check::assert_every_parameter_learns;
    use crate::nn::training::assert_resumes_exactly;
    use crate::world::lookups::assert_lookups_are_predictions;
    use crate::world::rated_log::Ratings;
    use crate::world::{small_log, weighted};

    #[test]
    fn every_parameter_learns_and_pairs_equal_the_plain_double_sum() {
        let users = Users {
            id: vec!["a".into(), "b".into()],
            features: BTreeMap::from([("sex".to_owned(), vec!["m".to_owned(), "f".to_owned()])]),
        };
        let items = Items {
            id: vec!["x".into(), "y".into()],
            title: vec!["X".into(), "Y".into()],
            year: vec![Some(1995), None],
            genres: vec![vec!["drama".into(), "war".into()], vec!["war".into()]],
            features: BTreeMap::from([("colour".to_owned(), vec!["red".to_owned(), "red".to_owned()])]),
        };
        let mut params = Params::default();
        let fields = Fields::new(&users, &items, 10, &Declarations::default()).unwrap();
        assert_eq!(fields.rows, 2 + 2 + 2 + 2 + 1);
        let model = Model::new(&mut params, &DeepFm::default(), &fields, None, 3.0, 0).unwrap();
        let (user, item) =
            (Tensor::new(&[0_u32, 1], &Device::Cpu).unwrap(), Tensor::new(&[0_u32, 1], &Device::Cpu).unwrap());
        assert_every_parameter_learns(&params, || model.predict(&user, &item).unwrap().rating.sqr()?.sum_all());

        let table = model.table.to_vec2::<f32>().unwrap();
        let genre = model.genre_table.as_ref().unwrap().to_vec2::<f32>().unwrap();
        let mixed: Vec<f32> = genre[0].iter().zip(&genre[1]).map(|(a, b)| 0.5 * (a + b)).collect();
        // User a: row 0 and sex m (row 3 after f at 2); item x: row 4, the nineties (row 7 after "" at 6) and red (row 8).
        let rows = [&table[0], &table[3], &table[4], &table[7], &table[8], &mixed];
        let mut by_hand = 3.0;
        for (f, row) in rows.iter().enumerate() {
            by_hand += row[0];
            by_hand += rows[..f]
                .iter()
                .map(|other| row[1..].iter().zip(&other[1..]).map(|(a, b)| a * b).sum::<f32>())
                .sum::<f32>();
        }
        let flat: Vec<f32> = rows.iter().flat_map(|row| row[1..].to_vec()).collect();
        let deep = model.network.forward(&Tensor::from_vec(flat, (1, 6 * 8), &Device::Cpu).unwrap()).unwrap();
        by_hand += deep.to_vec2::<f32>().unwrap()[0][0];
        let found = model.predict(&user, &item).unwrap().rating.to_vec1::<f32>().unwrap()[0];
        assert!((found - by_hand).abs() < 1e-5, "{found} {by_hand}");

        let log =
            Interactions { user: vec![0, 1, 0], item: vec![0, 1, 1], rating: vec![1.0; 3], timestamp: vec![0; 3] };
        let ratings = Ratings { log: &log, shape: [2, 2], weights: None, negatives: None, holdout: None };
        assert_lookups_are_predictions(&params, &model, &ratings);
        let mut params = Params::default();
        let vectors = Array::new(&[2, 3], vec![1.0, 0.0, -1.0, 0.5, 2.0, 1.0]);
        let model = Model::new(&mut params, &DeepFm::default(), &fields, Some(&vectors), 3.0, 0).unwrap();
        assert_lookups_are_predictions(&params, &model, &ratings);
    }

    #[test]
    fn interrupted_after_every_epoch_it_ends_the_same() {
        let simulator = UserSimulator { embedding_dim: 2, ..UserSimulator::default() };
        let stage = DeepFm { n_epochs: 3, batch_size: 5, ensemble_size: 2, simulator, ..DeepFm::default() };
        assert_resumes_exactly(&stage, small_log, |outputs| (outputs.world, outputs.curves), 6);
        let factored = DeepFm { form: WorldForm::Factored, ..stage.clone() };
        assert_resumes_exactly(&factored, small_log, |outputs| (outputs.world, outputs.curves), 6);
        let stating = DeepFm { n_epochs: 2, predict_variance: true, sample_negatives: true, ..stage };
        let compared = |outputs: Outputs| (outputs.world, outputs.curves, outputs.calibration);
        assert_resumes_exactly(&stating, || weighted(small_log()), compared, 4);
    }

    #[test]
    fn equal_bytes_on_one_thread_and_on_two() {
        let simulator = UserSimulator { embedding_dim: 2, ..UserSimulator::default() };
        let stage = DeepFm {
            n_epochs: 2,
            batch_size: 5,
            ensemble_size: 3,
            predict_variance: true,
            simulator,
            ..DeepFm::default()
        };
        let on = |threads: usize| {
            let folder = tempfile::tempdir().unwrap();
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let run = || stage.run(weighted(small_log()), &Context::detached(folder.path())).unwrap();
            let outputs = pool.install(run);
            (outputs.world, outputs.curves, outputs.calibration)
        };
        assert!(on(1) == on(2));
    }

    #[test]
    fn the_gaussian_head_learns_as_a_whole_and_states_less_where_less_is_known() {
        let mut params = Params::default();
        // Items 0 to 3 are rated 3 by all, items 4 to 7 are 1 or 5.
        let mut inputs = small_log();
        let pairs = |log: &mut Interactions, items: std::ops::Range<u32>, of: &dyn Fn(u32, u32) -> f32| {
            for (user, item) in (0..6).flat_map(|user| items.clone().map(move |item| (user, item))) {
                log.user.push(user);
                log.item.push(item);
                log.rating.push(of(user, item));
                log.timestamp.push(0);
            }
        };
        inputs.items.genres = vec![vec!["any".to_owned()]; 8];
        inputs.interactions = Interactions::default();
        pairs(&mut inputs.interactions, 0..4, &|_, _| 3.0);
        pairs(&mut inputs.interactions, 4..8, &|user, item| if (user * 7 + item * 3) % 4 < 2 { 1.0 } else { 5.0 });
        let stage = DeepFm {
            predict_variance: true,
            n_epochs: 150,
            batch_size: 48,
            l2: 0.5,
            ensemble_size: 1,
            ..DeepFm::default()
        };
        let fields = Fields::new(&inputs.users, &inputs.items, 10, &Declarations::default()).unwrap();
        let model = Model::new(&mut params, &stage, &fields, None, 3.0, 0).unwrap();
        let ids = |ids: &[u32]| Tensor::new(ids, &Device::Cpu).unwrap();
        let says = |item: u32| model.predict(&ids(&[0, 1, 2]), &ids(&[item; 3])).unwrap();
        assert_every_parameter_learns(&params, || {
            let says = says(0);
            heteroscedastic::loss(&says.rating.sqr()?, &says.log_variance.unwrap())?.sum_all()
        });
        let folder = tempfile::tempdir().unwrap();
        let ratings =
            Ratings { log: &inputs.interactions, shape: [6, 8], weights: None, negatives: None, holdout: None };
        let fit = stage.fit("m".into(), 0);
        let cx = Context::detached(folder.path());
        fit.run(&params, &model, &ratings, &cx, &cx.bar("fit", None, "epochs")).unwrap();
        let stated = |item| says(item).log_variance.unwrap().to_vec1::<f32>().unwrap()[0];
        assert!(stated(1) + 1.0 < stated(5), "{} {}", stated(1), stated(5));
    }
}
