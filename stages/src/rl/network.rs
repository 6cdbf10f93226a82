//! The policy's network as a setting of every learner.

use anyhow::{Context as _, Result};
use candle_core::Device;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::validation::{self, Validation};
use crate::artifact::{ItemFeatures, World};
use crate::nn::actor_critic::ActorCriticConfig;
use crate::nn::{ActorCritic, Encoder};

/// The network of a policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkConfig {
    /// Number of last items in the state.
    pub window: usize,
    /// Units of the hidden layer.
    pub hidden_size: usize,
    /// State encoder of the last items: `window` (concatenation of their vectors, the default), `average` (EasyRL4Rec's default), `gru`,
    /// `transformer` (IL-Rec's), `sasrec` or `caser`.
    pub encoder: Encoder,
    /// Columns of the items that the state encoder reads beside the items' vectors: names among those that the training world declares in
    /// `features.items`. Each adds an embedding to the vector of a recent item, 0 at first. None by default.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub item_features: Vec<String>,
    /// Initial weight of the training world's ratings in the logits; 0 starts with a uniform policy.
    pub prior_scale: f64,
    /// Initial penalty of items similar to the last ones, in logits; 0 for none. It is learned further.
    pub similarity_penalty: f64,
    /// Share of item pairs, the closest by the training world's vectors, that count as similar.
    pub similar_fraction: f64,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self {
            window: 7,
            hidden_size: 64,
            encoder: Encoder::Window,
            item_features: Vec::new(),
            prior_scale: 16.0,
            similarity_penalty: 0.0,
            similar_fraction: 0.02,
        }
    }
}

impl NetworkConfig {
    /// What no type can say.
    pub fn check(&self) -> Validation {
        validation::at_least_one("window", self.window, "a state holds at least the last item")?;
        validation::at_least_one("hidden_size", self.hidden_size, "a layer has at least one unit")?;
        validation::fraction("similar_fraction", self.similar_fraction)?;
        validation::finite("prior_scale", self.prior_scale)?;
        validation::finite("similarity_penalty", self.similarity_penalty)?;
        validation::nested("encoder", self.encoder.check())
    }

    /// A new network for that world, on that device.
    pub fn build(&self, world: &World, seed: u64, device: &Device) -> Result<ActorCritic> {
        let config = ActorCriticConfig {
            users: world.users(),
            items: world.items(),
            width: world.user_vectors.shape[1],
            window: self.window,
            hidden_size: self.hidden_size,
            encoder: self.encoder.clone(),
            prior_scale: self.prior_scale,
            similarity_penalty: self.similarity_penalty,
            similar_fraction: self.similar_fraction,
        };
        let vectors = [&world.user_vectors, &world.item_vectors];
        let features = self.features_of(world)?;
        ActorCritic::with_item_features(device, config, vectors, seed, features.as_ref())
    }

    /// The columns of the items that the encoder reads; `None` where it reads none.
    ///
    /// # Errors
    /// Where the world was not fitted with one of them.
    fn features_of(&self, world: &World) -> Result<Option<ItemFeatures>> {
        if self.item_features.is_empty() {
            return Ok(None);
        }
        let features = world.item_features.as_ref().with_context(|| {
            format!(
                "`network.item_features` names {}, and the world at `world` was fitted with no column of the items\nhelp: declare it where \
                 the world is fitted, as `features: {{ items: {{ {}: categorical }} }}` of `world.deepfm`, `world.mf` or \
                 `world.two_tower`",
                self.item_features.join(", "),
                self.item_features[0]
            )
        })?;
        features.select(&self.item_features).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use pipeline::{Context, Stage as _};

    use super::*;
    use crate::artifact::{Array, FeatureColumn};
    use crate::env::cluster_world;
    use crate::nn::Optimizer;
    use crate::rl::conformance::{demonstrated_cycles, small_network};
    use crate::rl::{BcDataset, BehaviourCloning, bc};

    /// Three clusters of two items with a column that names the cluster, and one that says how far an item is in it.
    fn world() -> World {
        let column = |name: &str, table_rows| FeatureColumn { name: name.into(), width: 1, table_rows };
        let mut world = cluster_world(&[5.0, 4.0, 3.0], 2, 2, 3, 5);
        world.item_features = Some(ItemFeatures {
            columns: vec![column("cluster", 3), column("place", 1)],
            ids: Array::new(&[6, 2], (0..6).flat_map(|item| [(item / 2) as f32, 3.0]).collect()),
            weights: Array::new(&[6, 2], (0..6).flat_map(|item| [1.0, (item % 2) as f32 - 0.5]).collect()),
        });
        world
    }

    fn reading(names: &[&str]) -> NetworkConfig {
        NetworkConfig { item_features: names.iter().map(|&name| name.to_owned()).collect(), ..small_network() }
    }

    #[test]
    fn an_encoder_reads_the_columns_that_it_names_and_begins_as_without() {
        let (world, device) = (world(), Device::Cpu);
        let demonstrations = demonstrated_cycles(&world, &[&[0, 2, 4], &[1, 3, 5]]);
        let rows: Vec<usize> = (0..15).collect();
        let loss = |network: &ActorCritic| {
            let data = BcDataset::new(&demonstrations, None, &world, 2).unwrap();
            data.imitation_loss(network, &rows).unwrap()
        };
        let plain = reading(&[]).build(&world, 1, &device).unwrap();
        let columns = reading(&["place", "cluster"]).build(&world, 1, &device).unwrap();
        let value = |network: &ActorCritic| loss(network).to_scalar::<f32>().unwrap();
        assert_eq!(value(&plain), value(&columns));
        assert_eq!(
            (plain.item_features().len(), columns.item_features()),
            (0, &["cluster".to_owned(), "place".into()][..])
        );
        // Nobody decides anything after an item of the last cluster.
        let gradients = loss(&columns).backward().unwrap();
        let (_, table) = columns.params().iter().find(|(name, _)| *name == "item_features").unwrap();
        let gradient = gradients.get(table.as_tensor()).unwrap().to_vec2::<f32>().unwrap();
        assert!([0, 1, 3].iter().all(|&row| gradient[row as usize].iter().any(|x| *x != 0.0)), "{gradient:?}");
        table.set(&(table.ones_like().unwrap() * 0.3).unwrap()).unwrap();
        assert_ne!(value(&plain), value(&columns));
        let file = columns.export().unwrap();
        let read = ActorCritic::import(&file).unwrap();
        assert_eq!((value(&read), read.item_features()), (value(&columns), columns.item_features()));
        assert_eq!(read.export().unwrap(), file);
        let one = reading(&["place"]).build(&world, 1, &device).unwrap().export().unwrap();
        assert_eq!(one.arrays["item_features"].shape[0], 1);
        assert!(!plain.export().unwrap().about.contains("item_features"), "a file without columns is as before");
    }

    /// What comes next depends on the cluster of the last item; three items are last in no demonstration that is learned from.
    #[test]
    fn columns_tell_what_to_do_after_items_that_no_demonstration_shows() {
        let mut world = cluster_world(&[5.0, 4.0, 3.0], 4, 2, 2, 3);
        let width = world.item_vectors.shape[1];
        let noise = |k: usize| 0.1 * (1.7 * k as f32 + 0.3).sin();
        world.item_vectors = Array::new(&[12, width], (0..12 * width).map(noise).collect());
        world.item_features = Some(ItemFeatures {
            columns: vec![FeatureColumn { name: "cluster".into(), width: 1, table_rows: 3 }],
            ids: Array::new(&[12, 1], (0..12).map(|item| (item / 4) as f32).collect()),
            weights: Array::new(&[12, 1], vec![1.0; 12]),
        });
        let demonstrations = |last: &[u32]| {
            let cycles: Vec<[u32; 2]> = last.iter().map(|item| [*item, 4 * ((item / 4 + 1) % 3)]).collect();
            demonstrated_cycles(&world, &cycles.iter().map(|cycle| &cycle[..]).collect::<Vec<_>>())
        };
        let loss_after = |names: &[&str]| {
            let network = NetworkConfig { window: 1, ..reading(names) };
            let stage = BehaviourCloning {
                n_epochs: 60,
                optimizer: Optimizer::with_learning_rate(0.02),
                network,
                ..BehaviourCloning::default()
            };
            let inputs = bc::Inputs::new(world.clone(), demonstrations(&[1, 2, 5, 6, 9, 10]));
            let folder = tempfile::tempdir().unwrap();
            let policy = stage.run(inputs, &Context::detached(folder.path())).unwrap().policy;
            let held_out = BcDataset::new(&demonstrations(&[3, 7, 11]), None, &world, 1).unwrap();
            let second: Vec<usize> = (0..held_out.actions.len()).filter(|row| row % 2 == 1).collect();
            let network = ActorCritic::import(&policy.0).unwrap();
            held_out.imitation_loss(&network, &second).unwrap().to_scalar::<f32>().unwrap()
        };
        let [with, without] = [loss_after(&["cluster"]), loss_after(&[])];
        assert!(with + 0.3 < without, "{with} {without}");
    }

    #[test]
    fn columns_that_the_world_does_not_have_are_refused() {
        let error =
            |world: &World, names: &[&str]| reading(names).build(world, 1, &Device::Cpu).err().unwrap().to_string();
        let unknown = error(&world(), &["brand"]);
        assert!(unknown.contains("no column `brand` of the items\nhelp: it has cluster, place;"), "{unknown}");
        let bare = cluster_world(&[5.0, 4.0, 3.0], 2, 2, 3, 5);
        let none = error(&bare, &["brand"]);
        assert!(
            none.contains("fitted with no column of the items\nhelp: declare it where the world is fitted"),
            "{none}"
        );
    }
}
