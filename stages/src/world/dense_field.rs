//! Vectors of items as a field of a rating model: a linear map of x_i, which the ratings fit.
//!
//! z_i = W·x_i, where x_i is the item's vector, centred and scaled ([`ItemVectors::standardized`]), and W is `[d, width]`. A linear
//! weight and an embedding of an item that nobody rated come from those of items with similar vectors (as the text features of
//! collaborative topic regression, Wang and Blei 2011, without its topics).

use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use candle_core::{Device, Tensor};

use crate::artifact::{Array, ItemVectors};
use crate::nn::{Init, Params};

/// Standard deviation of the initial map.
const SPREAD: f64 = 0.05;

/// The field with its map.
pub(super) struct DenseField {
    /// `[I, d]`, fixed.
    vectors: Tensor,
    /// `[d, width]`.
    map: Tensor,
    /// z of all items, `[I, width]`, while the map does not change.
    fixed: Mutex<Option<Tensor>>,
}

/// While it lives, a field computes its rows once and not for each question; nothing may change its map meanwhile, nor learn through it.
pub(super) struct Fixed<'a>(&'a DenseField);

impl Drop for Fixed<'_> {
    fn drop(&mut self) {
        *self.0.fixed() = None;
    }
}

impl DenseField {
    /// The parameter `name` with random initial values; `vectors` are standardised.
    pub(super) fn new(params: &mut Params, name: &str, vectors: &Array, width: usize, init: &mut Init) -> Result<Self> {
        let (items, d) = (vectors.shape[0], vectors.shape[1]);
        Ok(Self {
            map: params.add(name, &init.normal(&[d, width], SPREAD)?)?,
            vectors: Tensor::from_slice(&vectors.data, (items, d), &Device::Cpu)?.to_device(params.device())?,
            fixed: Mutex::default(),
        })
    }

    /// z of `item [B]` → `[B, width]`.
    pub(super) fn rows(&self, item: &Tensor) -> candle_core::Result<Tensor> {
        let fixed = self.fixed().clone();
        match fixed {
            Some(rows) => rows.index_select(item, 0),
            None => self.vectors.matmul(&self.map)?.index_select(item, 0),
        }
    }

    /// Computes z of all items for many questions.
    pub(super) fn fix(&self) -> candle_core::Result<Fixed<'_>> {
        let rows = self.vectors.matmul(&self.map)?.detach();
        *self.fixed() = Some(rows);
        Ok(Fixed(self))
    }

    fn fixed(&self) -> MutexGuard<'_, Option<Tensor>> {
        self.fixed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same from the vectors of these items alone; sums may round otherwise.
    pub(super) fn look_up(&self, item: &Tensor) -> candle_core::Result<Tensor> {
        self.vectors.index_select(item, 0)?.matmul(&self.map)
    }

    /// |W|².
    pub(super) fn size(&self) -> candle_core::Result<Tensor> {
        self.map.sqr()?.sum_all()
    }
}

/// The vectors of a stage's items, standardised; `None` where none are connected.
///
/// # Errors
/// When they are of another catalogue.
pub(super) fn item_vectors(connected: Option<&ItemVectors>, items: usize) -> Result<Option<Array>> {
    let Some(vectors) = connected else { return Ok(None) };
    vectors.check_items(items)?;
    Ok(Some(vectors.standardized()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::{Interactions, Items, Users};
    use crate::nn::gradient_check::assert_every_parameter_learns;
    use crate::nn::rng;
    use crate::world::{DeepFm, Inputs, MatrixFactorisation, UserSimulator};
    use pipeline::{Context, Stage};
    use rand::RngExt;
    use rand::seq::SliceRandom;

    #[test]
    fn a_row_is_the_map_of_the_vector_and_the_map_learns() {
        let mut params = Params::default();
        let vectors = Array::new(&[3, 2], vec![1.0, 0.0, 0.0, 1.0, 2.0, -1.0]);
        let field = DenseField::new(&mut params, "dense", &vectors, 3, &mut Init::new(1)).unwrap();
        let item = Tensor::new(&[2_u32, 0], &Device::Cpu).unwrap();
        let map = field.map.to_vec2::<f32>().unwrap();
        let rows = field.rows(&item).unwrap().to_vec2::<f32>().unwrap();
        for k in 0..3 {
            assert!((rows[0][k] - (2.0 * map[0][k] - map[1][k])).abs() < 1e-6 && rows[1][k] == map[0][k]);
        }
        let looked_up = field.look_up(&item).unwrap().to_vec2::<f32>().unwrap();
        assert!(rows.iter().flatten().zip(looked_up.iter().flatten()).all(|(a, b)| (a - b).abs() < 1e-6));
        assert_every_parameter_learns(&params, || field.rows(&item)?.sqr()?.sum_all());
        // Between two changes of the map it is multiplied once, and the rows are the same to the bit.
        let fixed = field.fix().unwrap();
        assert_eq!(field.rows(&item).unwrap().to_vec2::<f32>().unwrap(), rows);
        params.iter().for_each(|(_, var)| var.set(&var.zeros_like().unwrap()).unwrap());
        assert_eq!(field.rows(&item).unwrap().to_vec2::<f32>().unwrap(), rows, "nothing was multiplied again");
        drop(fixed);
        assert_eq!(field.rows(&item).unwrap().to_vec2::<f32>().unwrap(), [[0.0; 3]; 2]);
    }

    /// Thirty users rate sixty items around means that are a linear function of the items' vectors; the last fifteen items are only
    /// held out.
    fn planted(shuffled: bool) -> Inputs {
        let (users, items, d) = (30_u32, 60_u32, 4);
        let mut draw = rng(&[7, 0x9147]);
        let mut normal = |count: usize| -> Vec<f32> {
            (0..count).map(|_| (0..12).map(|_| draw.random::<f32>()).sum::<f32>() - 6.0).collect()
        };
        let data = normal(items as usize * d);
        let noise = normal((users * items) as usize);
        let truth = |item: u32| 3.0 + 0.6 * data[item as usize * d] - 0.5 * data[item as usize * d + 1];
        let (mut train, mut holdout) = (Interactions::default(), Interactions::default());
        for (user, item) in (0..users).flat_map(|user| (0..items).map(move |item| (user, item))) {
            let log = if item >= 45 { &mut holdout } else { &mut train };
            log.user.push(user);
            log.item.push(item);
            log.rating.push(truth(item) + 0.3 * noise[(user * items + item) as usize]);
            log.timestamp.push(0);
        }
        let mut order: Vec<usize> = (0..items as usize).collect();
        if shuffled {
            order.shuffle(&mut rng(&[8]));
        }
        let data = order.iter().flat_map(|&item| data[item * d..(item + 1) * d].to_vec()).collect();
        let names = |letter: char, count: u32| (0..count).map(|k| format!("{letter}{k}")).collect::<Vec<_>>();
        Inputs {
            interactions: train,
            holdout: Some(holdout),
            items: Items {
                id: names('i', items),
                title: names('i', items),
                year: vec![None; items as usize],
                genres: vec![vec![]; items as usize],
                ..Items::default()
            },
            users: Users { id: names('u', users), ..Users::default() },
            item_vectors: Some(ItemVectors {
                vectors: Array::new(&[items as usize, d], data),
                space: "planted".into(),
                columns: vec![],
            }),
            propensities: None,
            distances: None,
            item_scores: None,
        }
    }

    /// The error on items that nobody rated: with the vectors, with those of other items, and without any.
    fn errors<S: Stage<Inputs = Inputs, Outputs = crate::world::Outputs>>(stage: &S) -> [f64; 3] {
        let error = |inputs: Inputs| {
            let folder = tempfile::tempdir().unwrap();
            let curves = stage.run(inputs, &Context::detached(folder.path())).unwrap().curves;
            curves.0.iter().rfind(|point| point.series == "rmse.holdout.world").unwrap().value
        };
        let without = Inputs { item_vectors: None, ..planted(false) };
        [error(planted(false)), error(planted(true)), error(without)]
    }

    #[test]
    fn vectors_tell_the_means_of_items_that_nobody_rated_and_those_of_others_do_not() {
        let simulator = UserSimulator { embedding_dim: 4, ..UserSimulator::default() };
        let deepfm = DeepFm {
            ensemble_size: 1,
            n_epochs: 60,
            batch_size: 256,
            l2: 1.0,
            simulator: simulator.clone(),
            ..DeepFm::default()
        };
        let [with, shuffled, without] = errors(&deepfm);
        assert!(with < 0.6 * without && shuffled > 0.9 * without, "{with} {shuffled} {without}");
        let mf = MatrixFactorisation { n_epochs: 150, l2: 1.0, simulator, ..MatrixFactorisation::default() };
        let [with, shuffled, without] = errors(&mf);
        assert!(with < 0.6 * without && shuffled > 0.9 * without, "{with} {shuffled} {without}");
    }

    #[test]
    fn vectors_of_another_catalogue_are_refused() {
        let mut inputs = planted(false);
        inputs.item_vectors.as_mut().unwrap().vectors = Array::new(&[2, 1], vec![0.0; 2]);
        let folder = tempfile::tempdir().unwrap();
        let error = DeepFm::default().run(inputs, &Context::detached(folder.path())).err().unwrap().to_string();
        assert!(error.starts_with("`item_vectors` holds 2 vectors for 60 items\nhelp: "), "{error}");
    }
}
