//! A two-tower softmax for logs that say what people chose, not how they rated it.
//!
//! p(i|u) = e^s(u,i) / Σ_j e^s(u,j), s(u, i) = ⟨p_u, q_i⟩ + b_i: a vector of the user's tower and one of the item's, which is a row of a
//! table, plus a linear map of the item's vector where `item_vectors` are connected, and the embeddings of declared columns (`features`). The training is a sampled softmax with log-Q correction
//! ([`softmax_steps`](super::softmax_steps); Yi et al. 2019, RecSys, eqs. 4 and 5; Bengio and Senécal 2008, eq. 9).
//!
//! The reward is affine in the log-probability ([`affinity`](super::affinity)): low + (high − low)·max(0, 1 + ln p(i|u) / (2·ln I)). So a
//! sum of rewards is a log-likelihood of the session in other units, `quit_below` is a likelihood that users leave at, and I does not
//! change the scale.
//!
//! Left out: layers over the embeddings, and the streaming estimate of Q of Yi et al. (the log is at hand, so Q is
//! counted).

use anyhow::Result;
use pipeline::{Context, MemoryNeed, Requirement, Sizes, Stage};

use super::affinity::Affinity;
use super::dense_field::item_vectors;
use super::positives::positives;
use super::side_features::{Declarations, Undeclared};
use super::softmax_steps::SoftmaxFit;
use super::towers::Towers;
use super::two_tower_settings::TwoTower;
use super::world_memory::{of_fit, with_distances, with_stored};
use crate::artifact::{Curves, Interactions, ItemVectors, Items, Rewards, Users, World};
use crate::nn::{Params, device};

pipeline::ports! {
    /// What people chose.
    pub struct Inputs {
        /// The interactions to fit.
        interactions: Interactions,
        /// The catalogue.
        items: Items,
        /// The users.
        users: Users,
        /// Held-out interactions: their likelihood and rank are reported, and they are never fitted.
        holdout: Option<Interactions>,
        /// A world whose item distances and threshold are used; those of `simulator` without it.
        distances: Option<World>,
        /// A vector for each item, such as that of its text (`embed`): the item's tower learns a linear map of it.
        item_vectors: Option<ItemVectors>,
    }
}

pipeline::ports! {
    /// The results.
    pub struct Outputs {
        /// The completed world.
        world: World,
        /// An epoch: `softmax_loss.train`, the mean loss of a sampled softmax, in nats. Of up to 4,096 interactions at `holdout`:
        /// `nll.holdout`, the mean −ln p(i|u) over the whole catalogue, and `recall_at_20.holdout`, the share that ranks among the 20
        /// likeliest items which the user did not choose in the fitted log.
        curves: Curves,
    }
}

impl Stage for TwoTower {
    const KIND: &'static str = "world.two_tower";
    /// 1: first.
    /// 2: `similar_fraction` leaves out pairs at 0 where they are so many that nothing would lie below them.
    const VERSION: u32 = 2;
    const ABOUT: &'static str = "fit a two-tower softmax to what people chose and complete it to a simulated world";
    const USES_DEVICE: bool = true;
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn check(&self) -> Result<(), (String, String)> {
        let wrong = |path: &str, message: &str| Err((path.to_owned(), message.to_owned()));
        if self.embedding == 0 {
            return wrong("embedding", "a vector has at least one number");
        }
        self.features.check().map_err(|(path, message)| (format!("features.{path}"), message))?;
        if self.batch_size == 0 {
            return wrong("batch_size", "a step needs at least one interaction");
        }
        if self.batch_size == 1 && self.n_uniform_negatives == 0 {
            return wrong("n_uniform_negatives", "a batch of one interaction has no other item to compare with");
        }
        if !(self.l2 >= 0.0 && self.l2.is_finite()) {
            return wrong("l2", "a penalty is 0 or more");
        }
        let [low, high] = self.reward_range;
        if !(low < high && low.is_finite() && high.is_finite()) {
            return wrong("reward_range", "the lowest and the highest reward, such as `[0, 1]`");
        }
        self.optimizer.check().map_err(|(path, message)| (format!("optimizer.{path}"), message))?;
        self.simulator.check()
    }

    fn requirements(&self) -> Vec<Requirement> {
        self.simulator.requirements(true)
    }

    fn sizes(&self, inputs: &Sizes) -> Sizes {
        self.simulator.sizes(inputs, u64::from(!self.form.is_factored_for(inputs)))
    }

    fn memory(&self, inputs: &Sizes) -> Option<MemoryNeed> {
        let (users, items) = (inputs.get("users")?, inputs.get("items")?);
        let is_factored = self.form.is_factored([users as usize, items as usize]);
        let help = match is_factored {
            true => "lower `embedding`, or keep fewer users and items by `filter.kcore`",
            false => "set `form: factored`, lower `embedding`, or keep fewer users and items by `filter.kcore`",
        };
        let need = of_fit(help, inputs, 1, 1 + self.embedding as u64)?;
        Some(match is_factored {
            false => with_stored(need, [users, items], 4, &self.simulator),
            true => with_distances(need, [users, items], &self.simulator),
        })
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let (users, items) = (inputs.users.len(), inputs.items.len());
        let [positives, holdout] =
            positives(&inputs.interactions, inputs.holdout.as_ref(), (self.min_rating, true), [users, items], cx)?;
        let (vectors, tables) = (inputs.item_vectors.as_ref(), (&inputs.users, &inputs.items));
        let declared = Declarations::of(&self.features, tables, &positives, vectors, Undeclared::LeftOut, cx)?;
        let vectors = item_vectors(vectors, items)?;
        let device = device::of(cx)?;
        let mut params = Params::on(&device);
        let towers = Towers::new(&mut params, self, [users, items], vectors.as_ref(), &declared)?;
        let curves = SoftmaxFit::new(self, &positives, [users, items]).run(&params, &towers, &holdout, cx)?;
        let affinity = Affinity::new(self.reward_range, [users, items]);
        let rewards: Rewards = match self.form.is_factored([users, items]) {
            true => affinity.factored(&towers, cx)?.into(),
            false => affinity.stored(&towers, cx)?.into(),
        };
        let (shared, vectors) = (inputs.distances.as_ref(), inputs.item_vectors.as_ref());
        let mut world = self.simulator.complete(shared, vectors, &inputs.items, &inputs.users, rewards, cx)?;
        world.item_features = declared.item_features(items);
        Ok(Outputs { world, curves })
    }
}

#[cfg(test)]
mod tests {
    use crate::nn::Optimizer;
    use crate::world::UserSimulator;
    use crate::world::WorldForm;
    use rand::RngExt;

    use super::*;
    use crate::artifact::Array;
    use crate::nn::rng;
    use crate::nn::training::assert_resumes_exactly;

    fn stage() -> TwoTower {
        TwoTower {
            embedding: 8,
            n_epochs: 6,
            batch_size: 64,
            n_uniform_negatives: 32,
            optimizer: Optimizer::with_learning_rate(0.05),
            l2: 1.0,
            simulator: UserSimulator { embedding_dim: 2, ..UserSimulator::default() },
            ..TwoTower::default()
        }
    }

    fn inputs([users, items]: [usize; 2], pairs: &[(u32, u32)]) -> Inputs {
        let names = |letter: char, count: usize| (0..count).map(|k| format!("{letter}{k}")).collect::<Vec<_>>();
        let interactions = Interactions {
            user: pairs.iter().map(|pair| pair.0).collect(),
            item: pairs.iter().map(|pair| pair.1).collect(),
            rating: vec![1.0; pairs.len()],
            timestamp: vec![0; pairs.len()],
        };
        let items = Items {
            id: names('i', items),
            title: names('i', items),
            year: vec![None; items],
            genres: vec![vec![]; items],
            ..Items::default()
        };
        let users = Users { id: names('u', users), ..Users::default() };
        Inputs { interactions, items, users, holdout: None, distances: None, item_vectors: None }
    }

    /// 60 users who each chose 12 of the 20 items of their cluster, of six; the sizes of the clusters differ, and so does popularity.
    fn clusters() -> Inputs {
        let (mut train, mut held) = (Vec::new(), Vec::new());
        for user in 0..60_u32 {
            let cluster = (user * user / 7) % 6;
            for place in 0..15 {
                let item = cluster * 20 + (user * 3 + place * 7) % 20;
                if place < 12 { &mut train } else { &mut held }.push((user, item));
            }
        }
        let mut all = inputs([60, 120], &train);
        all.holdout = Some(inputs([60, 120], &held).interactions);
        all
    }

    fn run(stage: &TwoTower, inputs: Inputs) -> Result<Outputs> {
        let folder = tempfile::tempdir().unwrap();
        stage.run(inputs, &Context::detached(folder.path()))
    }

    fn last(curves: &Curves, series: &str) -> f64 {
        curves.0.iter().rfind(|point| point.series == series).unwrap().value
    }

    #[test]
    fn clusters_are_found_and_the_held_out_items_rank_above_popular_ones() {
        let all = clusters();
        let (log, held) = (all.interactions.clone(), all.holdout.clone().unwrap());
        let mut counts = vec![0; 120];
        log.item.iter().for_each(|&item| counts[item as usize] += 1);
        let chose =
            |user: u32, item: usize| log.user.iter().zip(&log.item).any(|(&u, &i)| u == user && i as usize == item);
        let popular = |row: &usize| {
            let (user, item) = (held.user[*row], held.item[*row] as usize);
            (0..120).filter(|&other| counts[other] > counts[item] && !chose(user, other)).count() < 20
        };
        let popularity = (0..held.len()).filter(popular).count() as f64 / held.len() as f64;
        let found = run(&stage(), all).unwrap();
        let recall = last(&found.curves, "recall_at_20.holdout");
        assert!(recall > 0.9 && recall > popularity + 0.3, "{recall} {popularity}");
        assert!(last(&found.curves, "nll.holdout") < 4.2, "ln 20 is 3.0, ln 120 is 4.8: {:?}", found.curves);
        for row in 0..held.len() {
            let rewards = found.world.rewards_of(held.user[row]);
            let own = rewards[held.item[row] as usize];
            let others = rewards.iter().sum::<f32>() / 120.0;
            assert!(own > others, "row {row}: {own} {others}");
        }
    }

    /// 40 users who all choose by one power law; Σ p·ln(p/p̂) of the mean user.
    #[test]
    fn the_correction_gives_popular_items_their_probability() {
        let (users, items) = (40, 50);
        let weights: Vec<f64> = (0..items).map(|item| 1.0 / (1.0 + f64::from(item))).collect();
        let all: f64 = weights.iter().sum();
        let mut draw = rng(&[5, 0x1a3]);
        let pairs: Vec<(u32, u32)> = (0..4000)
            .map(|k| {
                let mut place = draw.random::<f64>() * all;
                let item = weights.iter().position(|weight| {
                    place -= weight;
                    place < 0.0
                });
                (k % users, item.unwrap_or(0) as u32)
            })
            .collect();
        let divergence = |log_q_correction: bool, n_uniform_negatives: usize| {
            let stage =
                TwoTower { n_epochs: 10, batch_size: 100, log_q_correction, n_uniform_negatives, l2: 50.0, ..stage() };
            let world = run(&stage, inputs([users as usize, items as usize], &pairs)).unwrap().world;
            let log_p = |reward: f32| 2.0 * f64::from(items).ln() * (f64::from(reward) - 1.0);
            let sum: f64 = world.rewards_of(0).iter().map(|&reward| log_p(reward).exp()).sum();
            assert!((sum - 1.0).abs() < 0.01, "probabilities that sum to {sum}");
            let of_user = |user: u32| -> f64 {
                let rewards = world.rewards_of(user);
                rewards.iter().zip(&weights).map(|(&r, w)| w / all * ((w / all).ln() - log_p(r))).sum()
            };
            (0..users).map(of_user).sum::<f64>() / f64::from(users)
        };
        // Of a catalogue that is taken for uniform it is 0.84.
        let [in_batch, mixed, without] = [divergence(true, 0), divergence(true, 50), divergence(false, 0)];
        assert!(in_batch < 0.1 && mixed < 0.1 && without > 0.4, "{in_batch} {mixed} {without}");
    }

    #[test]
    fn a_world_of_vectors_pays_what_a_stored_one_pays() {
        let [stored, factored] = [WorldForm::Dense, WorldForm::Factored].map(|form| {
            let stage = TwoTower { n_epochs: 2, form, ..stage() };
            run(&stage, clusters()).unwrap().world
        });
        assert!(matches!(factored.rewards(), Rewards::Factored(_)) && matches!(stored.rewards(), Rewards::Dense(_)));
        for user in 0..60 {
            let pairs = stored.rewards_of(user).into_owned().into_iter().zip(factored.rewards_of(user).into_owned());
            assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-5), "user {user}");
        }
        let need = |form: WorldForm, users: usize| {
            let sizes = Sizes::of("users", users).and(Sizes::of("items", 1000));
            TwoTower { form, ..stage() }.memory(&sizes).unwrap().total()
        };
        let tiles = |users| crate::world::gram::at_once(MemoryNeed::new(""), users, 1000).total();
        assert_eq!(need(WorldForm::Auto, 1000), 2000 * 9 * 16 + 28_000_000 + 4_000_000 + tiles(1000));
        assert_eq!(need(WorldForm::Auto, 1_000_000), 1_001_000 * 9 * 16 + 4_000_000 + tiles(1_000_000));
    }

    #[test]
    fn interrupted_after_every_epoch_it_ends_the_same_on_any_number_of_threads() {
        let short = TwoTower { n_epochs: 3, n_uniform_negatives: 5, ..stage() };
        let with_vectors = || {
            let mut all = clusters();
            let vectors = Array::new(&[120, 2], (0..240).map(|k| (k % 7) as f32).collect());
            all.item_vectors = Some(ItemVectors { vectors, space: "any".into(), columns: Vec::new() });
            all
        };
        assert_resumes_exactly(&short, with_vectors, |outputs| (outputs.world, outputs.curves), 3);
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let outputs = pool.install(|| run(&short, with_vectors())).unwrap();
            (outputs.world, outputs.curves)
        };
        let alone = on(1);
        assert!(on(2) == alone && on(16) == alone);
    }

    #[test]
    fn what_cannot_be_fitted_is_refused() {
        let refused = |change: fn(&mut TwoTower)| {
            let mut stage = stage();
            change(&mut stage);
            stage.check().unwrap_err().0
        };
        assert_eq!(refused(|stage| stage.embedding = 0), "embedding");
        assert_eq!(refused(|stage| stage.batch_size = 0), "batch_size");
        assert_eq!(refused(|stage| (stage.batch_size, stage.n_uniform_negatives) = (1, 0)), "n_uniform_negatives");
        assert_eq!(refused(|stage| stage.l2 = f64::NAN), "l2");
        assert_eq!(refused(|stage| stage.reward_range = [1.0, 1.0]), "reward_range");
        assert_eq!(refused(|stage| stage.optimizer.learning_rate = 0.0), "optimizer.learning_rate");
        let error = |stage: &TwoTower, inputs| run(stage, inputs).err().unwrap().to_string();
        assert_eq!(error(&stage(), inputs([2, 2], &[])), "no interaction to fit a world on");
        let strict = TwoTower { min_rating: Some(4.0), ..stage() };
        let said = error(&strict, clusters());
        assert_eq!(said, "none of 720 interactions is rated 4 or more\nhelp: lower `min_rating`");
        assert!(error(&stage(), inputs([2, 2], &[(0, 2)])).contains("but there are 2 users and 2 items"));
    }
}
