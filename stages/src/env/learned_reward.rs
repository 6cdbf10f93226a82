//! r_IRL: what an inverse-RL stage learned from the demonstrations, as a function of state and action.

use anyhow::{Result, bail, ensure};
use candle_core::{Device, Tensor};
use rayon::prelude::*;

use super::{Observation, embed_texts};
use crate::artifact::{Array, ItemVectors, Items, RewardModel, World};
use crate::nn::Discriminator;
use crate::nn::discriminator::{DiscriminatorBatch, TransitionStates};

/// What a discriminator sees of a state and an action: `[v_u, mean of the window's x_i, x_a, v_u ∘ x_a, progress]`, and of a
/// state alone: `[v_u, mean of the window's x_i, progress]`. v are the training world's vectors; x are the items' vectors of the
/// world too, or of their texts, and then the product is that of the mean and x_a: a user has no text.
pub struct Features<'w> {
    world: &'w World,
    texts: Option<Array>,
}

impl<'w> Features<'w> {
    /// Features from that world's vectors.
    #[must_use]
    pub fn new(world: &'w World) -> Self {
        Self { world, texts: None }
    }

    /// Features whose items are told by `texts [I, D_x]`.
    ///
    /// # Errors
    /// When they are of another catalogue.
    pub fn with_texts(world: &'w World, texts: Array) -> Result<Self> {
        ensure!(
            texts.shape.len() == 2 && texts.shape[0] == world.items(),
            "texts of {:?} for {} items\nhelp: connect the `items` that the world was fitted with",
            texts.shape,
            world.items()
        );
        Ok(Self { world, texts: Some(texts) })
    }

    /// Features for a discriminator: items are told by their `vectors`, else by embeddings of `width` numbers of the texts of `items`,
    /// else by the world's vectors.
    ///
    /// # Errors
    /// When both are given, or one is of another catalogue.
    pub fn of(
        world: &'w World,
        items: Option<&Items>,
        vectors: Option<&ItemVectors>,
        width: usize,
        seed: u64,
    ) -> Result<Self> {
        match (items, vectors) {
            (Some(_), Some(_)) => bail!(
                "`items` and `item_vectors` both tell the discriminator of the items\nhelp: leave out one of the two: `items` for the \
                 spelling of titles, `item_vectors` for what a model makes of them"
            ),
            (Some(items), None) => {
                world.check_catalogue(items)?;
                Self::with_texts(world, embed_texts(items, width, seed))
            }
            (None, Some(vectors)) => {
                vectors.check_items(world.items())?;
                Self::with_texts(world, vectors.standardized())
            }
            (None, None) => Ok(Self::new(world)),
        }
    }

    /// The items' texts, where it has some.
    #[must_use]
    pub fn texts(&self) -> Option<&Array> {
        self.texts.as_ref()
    }

    fn items(&self) -> &Array {
        self.texts.as_ref().unwrap_or(&self.world.item_vectors)
    }

    /// F = D + 3·D_x + 1.
    #[must_use]
    pub fn width(&self) -> usize {
        self.world.user_vectors.shape[1] + 3 * self.items().shape[1] + 1
    }

    /// F_s = D + D_x + 1.
    #[must_use]
    pub fn state_width(&self) -> usize {
        self.world.user_vectors.shape[1] + self.items().shape[1] + 1
    }

    /// B states and `actions [B]` → `[B, F]`.
    pub fn compute(&self, observation: &Observation, actions: &[u32]) -> Result<Tensor> {
        ensure!(observation.len() == actions.len(), "{} states, {} actions", observation.len(), actions.len());
        self.rows(actions.len(), self.width(), |row, features| {
            let user = self.world.user_vectors.row(observation.user[row] as usize);
            let item = self.items().row(actions[row] as usize);
            features.extend_from_slice(user);
            self.push_mean(window(observation, row).iter().copied(), features);
            let mean = features[user.len()..].to_vec();
            features.extend_from_slice(item);
            let partner = if self.texts.is_some() { mean.as_slice() } else { user };
            features.extend(partner.iter().zip(item).map(|(p, i)| p * i));
            features.push(observation.progress[row]);
        })
    }

    /// B states → `[B, F_s]`.
    pub fn states(&self, observation: &Observation) -> Result<Tensor> {
        self.rows(observation.len(), self.state_width(), |row, features| {
            features.extend_from_slice(self.world.user_vectors.row(observation.user[row] as usize));
            self.push_mean(window(observation, row).iter().copied(), features);
            features.push(observation.progress[row]);
        })
    }

    /// The states that follow B states when `actions [B]` are shown → `[B, F_s]`.
    pub fn states_after(&self, observation: &Observation, actions: &[u32]) -> Result<Tensor> {
        ensure!(observation.len() == actions.len(), "{} states, {} actions", observation.len(), actions.len());
        let turn = 1.0 / self.world.rules.horizon as f32;
        self.rows(actions.len(), self.state_width(), |row, features| {
            features.extend_from_slice(self.world.user_vectors.row(observation.user[row] as usize));
            let recent = window(observation, row).iter().copied();
            self.push_mean(std::iter::once(actions[row]).chain(recent).take(observation.window), features);
            features.push(observation.progress[row] + turn);
        })
    }

    /// All that a discriminator of either form reads, but log π: `terminal [B]` is true where the episode ends with that step.
    pub fn steps(&self, observation: &Observation, actions: &[u32], terminal: &[bool]) -> Result<DiscriminatorBatch> {
        ensure!(terminal.len() == actions.len(), "{} ends, {} actions", terminal.len(), actions.len());
        let not_done: Vec<f32> = terminal.iter().map(|&terminal| if terminal { 0.0 } else { 1.0 }).collect();
        Ok(DiscriminatorBatch {
            state_actions: self.compute(observation, actions)?,
            transition: Some(TransitionStates {
                states: self.states(observation)?,
                next_states: self.states_after(observation, actions)?,
                not_done: Tensor::from_vec(not_done, terminal.len(), &Device::Cpu)?,
            }),
            log_policy: None,
        })
    }

    /// Appends the mean vector of the items shown; padding is no item.
    fn push_mean(&self, shown: impl Iterator<Item = u32>, features: &mut Vec<f32>) {
        let shown: Vec<u32> = shown.filter(|&i| (i as usize) < self.world.items()).collect();
        features.extend((0..self.items().shape[1]).map(|d| {
            let sum: f32 = shown.iter().map(|&i| self.items().row(i as usize)[d]).sum();
            sum / shown.len().max(1) as f32
        }));
    }

    fn rows(&self, count: usize, width: usize, fill: impl Fn(usize, &mut Vec<f32>) + Sync) -> Result<Tensor> {
        let row = |row: usize| {
            let mut features = Vec::with_capacity(width);
            fill(row, &mut features);
            features
        };
        let rows: Vec<Vec<f32>> = (0..count).into_par_iter().with_min_len(64).map(row).collect();
        Ok(Tensor::from_vec(rows.concat(), (count, width), &Device::Cpu)?)
    }
}

fn window(observation: &Observation, row: usize) -> &[u32] {
    &observation.recent[row * observation.window..(row + 1) * observation.window]
}

/// Which of the flat steps of episodes of these `lengths` are the last of theirs, `[S]`. A task here is of finite horizon, and
/// the state holds the progress: after the last turn nothing is worth anything, whether the user left or was cut off.
#[must_use]
pub fn last_steps(lengths: &[usize]) -> Vec<bool> {
    lengths.iter().flat_map(|&length| (1..=length).map(move |step| step == length)).collect()
}

/// A learned reward, ready for evaluation.
pub struct LearnedReward<'w> {
    features: Features<'w>,
    discriminator: Discriminator,
}

impl<'w> LearnedReward<'w> {
    /// The reward of a file, over the vectors of the world that it was learned in, for states of the last `window` items.
    ///
    /// # Errors
    /// When it was learned from other states or in another world: the numbers would fit and mean nothing.
    pub fn load(model: &RewardModel, world: &'w World, window: usize) -> Result<Self> {
        let discriminator = Discriminator::import(&model.0)?;
        let config = discriminator.config();
        ensure!(
            config.window == window,
            "the reward was learned from states of {} items, the policy's hold {window}\nhelp: give both stages the same \
             `network.window` (in an irl stage it is `policy.network.window`)",
            config.window
        );
        ensure!(
            config.vectors == world.vectors_digest(),
            "the reward was learned in another world\nhelp: connect the `world` of the stage that learned it"
        );
        ensure!(
            config.horizon == world.rules.horizon,
            "the reward was learned in episodes of {} turns, here they have {}\nhelp: give both worlds the same `horizon`, or \
             connect the `world` of the stage that learned it",
            config.horizon,
            world.rules.horizon
        );
        let features = match model.0.arrays.get(TEXTS) {
            Some(texts) => Features::with_texts(world, texts.clone())?,
            None => Features::new(world),
        };
        Ok(Self { features, discriminator })
    }

    /// r_IRL(s, a, s') of B states and `actions [B]` → `[B]`, in the form and the unit that the file names; `terminal [B]` is true where
    /// the episode ends with that step, see [`last_steps`].
    pub fn rewards(&self, observation: &Observation, actions: &[u32], terminal: &[bool]) -> Result<Vec<f32>> {
        let config = self.discriminator.config();
        let rewards =
            self.discriminator.rewards(config.reward, &self.features.steps(observation, actions, terminal)?)?;
        Ok((rewards / config.scale)?.to_vec1()?)
    }
}

/// The name of the items' texts in a reward model's file, `[I, D_x]`; absent where the world's vectors are read.
pub const TEXTS: &str = "texts";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::cluster_world;
    use crate::nn::RewardForm;
    use crate::nn::discriminator::DiscriminatorConfig;

    #[test]
    fn a_reward_of_other_states_or_of_another_world_is_refused() {
        let world = cluster_world(&[5.0, 4.0], 2, 1, 4, 3);
        let features = Features::new(&world);
        let config = DiscriminatorConfig {
            inputs: features.width(),
            window: 2,
            vectors: world.vectors_digest(),
            horizon: 4,
            hidden_size: 4,
            ..DiscriminatorConfig::default()
        };
        let model = RewardModel(Discriminator::new(config, 1).unwrap().export().unwrap());
        let error = |world: &World, window| LearnedReward::load(&model, world, window).err().map(|e| e.to_string());
        assert_eq!(error(&world, 2), None);
        assert!(error(&world, 3).unwrap().contains("states of 2 items, the policy's hold 3"));
        let mut longer = world.clone();
        longer.rules.horizon = 8;
        assert!(error(&longer, 2).unwrap().contains("in episodes of 4 turns, here they have 8"));
        let mut other = world.clone();
        other.user_vectors.data[0] += 0.5;
        assert!(error(&other, 2).unwrap().contains("in another world"));
    }

    #[test]
    fn items_are_told_by_vectors_by_texts_or_by_the_world() {
        let world = cluster_world(&[5.0, 4.0], 2, 1, 4, 3);
        let names: Vec<String> = (0..4).map(|k| format!("i{k}")).collect();
        let items =
            Items { id: names.clone(), title: names, year: vec![None; 4], genres: vec![vec![]; 4], ..Items::default() };
        let vectors = |count: usize| ItemVectors {
            vectors: Array::new(&[count, 3], (0..3 * count).map(|x| (x as f32).sin()).collect()),
            space: "toy".into(),
            columns: vec![],
        };
        let width = |items: Option<&Items>, vectors: Option<&ItemVectors>| {
            Features::of(&world, items, vectors, 5, 1).map(|features| features.items().shape[1])
        };
        assert_eq!(width(None, Some(&vectors(4))).unwrap(), 3);
        assert_eq!(width(Some(&items), None).unwrap(), 5);
        assert_eq!(width(None, None).unwrap(), world.item_vectors.shape[1]);
        let error = |items: Option<&Items>, vectors: &ItemVectors| width(items, Some(vectors)).unwrap_err().to_string();
        assert!(error(None, &vectors(3)).starts_with("`item_vectors` holds 3 vectors for 4 items\nhelp: "));
        assert!(error(Some(&items), &vectors(4)).contains("\nhelp: leave out one of the two"));
    }

    #[test]
    fn the_next_state_is_the_state_that_comes_next() {
        let world = cluster_world(&[5.0, 4.0], 2, 1, 4, 3);
        let items = [3, 0, 2];
        let mut observation = Observation { window: 2, ..Observation::default() };
        for step in 0..=items.len() {
            observation.push(1, &items[..step], &[1.0; 3][..step], 4, 4);
        }
        let features = Features::new(&world);
        let states = features.states(&observation).unwrap().to_vec2::<f32>().unwrap();
        let after = features.states_after(&observation.take(&[0, 1, 2]), &items).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(after, states[1..]);
        assert_eq!(states[2], [0.0, 0.0, 0.5, 0.5, 0.5], "user, mean of clusters 1 and 0, half of the turns");
    }

    #[test]
    fn a_file_says_its_form_its_unit_and_its_texts() {
        let world = cluster_world(&[5.0, 4.0], 2, 1, 4, 3);
        let texts = Array::new(&[4, 3], (0..12).map(|x| (x as f32).sin()).collect());
        let features = Features::with_texts(&world, texts.clone()).unwrap();
        let observation = Observation {
            user: vec![0, 1],
            recent: vec![1, 4, 2, 3],
            rewards: vec![4.0; 4],
            progress: vec![0.25, 0.5],
            window: 2,
            ..Observation::default()
        };
        let rewards = |reward: RewardForm, scale: f64| {
            let config = DiscriminatorConfig {
                inputs: features.width(),
                states: features.state_width(),
                window: 2,
                vectors: world.vectors_digest(),
                horizon: world.rules.horizon,
                hidden_size: 4,
                discount: Some(0.9),
                reward,
                scale,
                ..DiscriminatorConfig::default()
            };
            let mut file = Discriminator::new(config, 1).unwrap().export().unwrap();
            file.arrays.insert(TEXTS.to_owned(), texts.clone());
            let learned = LearnedReward::load(&RewardModel(file), &world, 2).unwrap();
            learned.rewards(&observation, &[0, 3], &last_steps(&[2]))
        };
        let (whole, halved) = (rewards(RewardForm::F, 1.0).unwrap(), rewards(RewardForm::F, 2.0).unwrap());
        assert!(whole.iter().zip(&halved).all(|(w, h)| (w - 2.0 * h).abs() < 1e-6), "{whole:?} {halved:?}");
        assert!(rewards(RewardForm::LogD, 1.0).is_err(), "AIRL's other forms need log π");
        assert!(Features::with_texts(&world, Array::new(&[3, 1], vec![0.0; 3])).is_err());
    }

    #[test]
    fn each_episode_has_one_last_step() {
        assert_eq!(last_steps(&[2, 1]), [false, true, true]);
    }
}
