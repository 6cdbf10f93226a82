//! A trained policy as an agent.

use std::ops::Range;

use anyhow::{Result, ensure};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::{Agent, Episodes, Observation, observe};
use crate::artifact::PolicyFile;
use crate::nn::sampled_softmax::Candidates;
use crate::nn::state_batch::StateBatch;
use crate::nn::{ActorCritic, PolicyNetwork, TABLE_ITEMS, policy_io};

/// States as the network takes them, without what the world masks: the one place where an observation becomes tensors.
pub fn states(network: &dyn PolicyNetwork, observation: &Observation) -> Result<StateBatch> {
    let mut states = network.backbone().states(
        &observation.user,
        &observation.recent,
        &observation.rewards,
        &observation.progress,
    )?;
    if observation.masking {
        let masked = |row| observation.masked(row).iter().map(move |&item| (row, item));
        states.mask_actions((0..observation.len()).flat_map(masked))?;
    }
    Ok(states)
}

/// The same for a softmax over a sample, see [`sampled_softmax`](crate::nn::sampled_softmax).
pub fn states_for_candidates(
    network: &ActorCritic,
    observation: &Observation,
    candidates: &Candidates,
) -> Result<StateBatch> {
    let allowed = candidates.action_mask(|row| observation.masked(row))?;
    let Observation { user, recent, rewards, progress, .. } = observation;
    network.states_for_candidates(user, recent, rewards, progress, &candidates.items, allowed)
}

/// A network that recommends.
pub struct PolicyAgent<'a> {
    /// The network.
    pub network: &'a dyn PolicyNetwork,
    /// Whether it draws from π (while learning) or takes the most likely item (in evaluation).
    pub sample: bool,
}

impl PolicyAgent<'_> {
    /// The network of a policy file, checked against a catalogue of `items` and `users`.
    pub fn load(policy: &PolicyFile, users: usize, items: usize) -> Result<Box<dyn PolicyNetwork>> {
        let network = policy_io::load(&policy.0)?;
        let config = network.config();
        ensure!(
            config.users == users && config.items == items,
            "the policy knows {} users and {} items, the world {users} and {items}\nhelp: evaluate it in a world that was made from the \
             ingest stage of the world it learned in",
            config.users,
            config.items
        );
        Ok(network)
    }
}

/// Scores that are worth a thread, and the fewest states with which a network is asked.
const PART: usize = 1 << 13;
const FEWEST: usize = 16;

/// Scores of a part beyond today's tables, of which each thread holds several copies.
const LARGEST_PART: usize = 1 << 20;

impl PolicyAgent<'_> {
    /// The threads share the states. What is chosen in a state depends on no other.
    fn choose(&self, observation: &Observation, draws: &mut [ChaCha8Rng]) -> Result<Vec<u32>> {
        let uniforms: Option<Vec<f64>> = self.sample.then(|| draws.iter_mut().map(|draw| draw.random()).collect());
        let parts = parts(observation.len(), self.network.config().items, self.network.streams());
        if parts.len() == 1 {
            return self.network.choose(&states(self.network, observation)?, uniforms.as_deref());
        }
        let of_part = |rows: Range<usize>| -> Result<Vec<u32>> {
            let uniforms = uniforms.as_ref().map(|uniforms| &uniforms[rows.clone()]);
            let observation = observation.take(&rows.collect::<Vec<_>>());
            self.network.choose(&states(self.network, &observation)?, uniforms)
        };
        Ok(parts.into_par_iter().map(of_part).collect::<Result<Vec<_>>>()?.concat())
    }
}

/// The states that a network is asked about at a time, as ranges of about equal length; all where it divides the work itself.
fn parts(states: usize, items: usize, streams: bool) -> Vec<Range<usize>> {
    let rows = if items > TABLE_ITEMS { LARGEST_PART / items } else { FEWEST.max(PART / items.max(1)) };
    let count = if streams { 1 } else { (states / rows.max(1)).max(1) };
    (0..count).map(|k| k * states / count..(k + 1) * states / count).collect()
}

impl Agent for PolicyAgent<'_> {
    fn act(&self, episodes: &Episodes, live: &[usize], draws: &mut [ChaCha8Rng]) -> Result<Vec<u32>> {
        self.choose(&observe(episodes, live, self.network.config().window), draws)
    }
}

/// A network that recommends nothing of an episode again, whatever its world allows.
pub struct WithoutRepeats<'a>(pub PolicyAgent<'a>);

impl Agent for WithoutRepeats<'_> {
    fn act(&self, episodes: &Episodes, live: &[usize], draws: &mut [ChaCha8Rng]) -> Result<Vec<u32>> {
        let observation = Observation { masking: true, ..Observation::unmasked(self.0.network.config().window) };
        self.0.choose(&observation.with(episodes, live), draws)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::cluster_world;
    use crate::nn::actor_critic::ActorCriticConfig;
    use crate::nn::{ActorCritic, Encoder, Init, rng};

    #[test]
    fn a_policy_of_another_catalogue_is_refused_with_what_to_do() {
        let world = cluster_world(&[5.0, 4.0], 2, 1, 4, 3);
        let config = ActorCriticConfig {
            users: 3,
            items: 4,
            width: 2,
            window: 2,
            hidden_size: 4,
            prior_scale: 1.0,
            similarity_penalty: 0.0,
            similar_fraction: 0.5,
            encoder: Encoder::Window,
        };
        let network = ActorCritic::new(config, &world.user_vectors, &world.item_vectors, 1).unwrap();
        let policy = PolicyFile::new(network.export().unwrap(), "rl.bc", &world).unwrap();
        assert!(PolicyAgent::load(&policy, 3, 4).is_ok());
        let error = PolicyAgent::load(&policy, 3, 5).err().unwrap().to_string();
        assert!(error.contains("3 users and 4 items, the world 3 and 5\nhelp: "), "{error}");
    }

    #[test]
    fn without_repeats_nothing_comes_twice_where_it_might() {
        let world = cluster_world(&[5.0, 4.0, 3.0, 2.0], 2, 1, 6, 3);
        let config = ActorCriticConfig {
            users: 3,
            items: 8,
            width: 4,
            window: 2,
            hidden_size: 4,
            prior_scale: 1.0,
            similarity_penalty: 0.0,
            similar_fraction: 0.5,
            encoder: Encoder::Window,
        };
        let network = ActorCritic::new(config, &world.user_vectors, &world.item_vectors, 1).unwrap();
        let student = || PolicyAgent { network: &network, sample: false };
        let mut stays = world.clone();
        stays.rules.distance_threshold = None;
        let repeats = |agent: &dyn Agent| {
            let played = crate::env::play(&stays, &[0, 1, 2], agent, 0).unwrap();
            let distinct = |e| played.items(e).iter().collect::<std::collections::BTreeSet<_>>().len();
            (0..3).map(|e| played.items(e).len() - distinct(e)).sum::<usize>()
        };
        assert!(repeats(&student()) > 0, "an untrained network shows its favourite again");
        assert_eq!(repeats(&WithoutRepeats(student())), 0);
    }

    /// Parts of a batch have the bits of the whole, drawn and best, whatever the number of threads.
    #[test]
    fn threads_share_the_states_and_change_nothing() {
        let mut world = cluster_world(&[1.0; 60], 5, 1, 9, 200);
        let values = Init::new(3).normal(&[260, 60], 0.3).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        world.user_vectors.data.copy_from_slice(&values[..200 * 60]);
        let config = ActorCriticConfig {
            users: 200,
            items: 300,
            width: 60,
            window: 3,
            hidden_size: 33,
            prior_scale: 1.0,
            similarity_penalty: 1.0,
            similar_fraction: 0.1,
            encoder: Encoder::Window,
        };
        let network = ActorCritic::new(config, &world.user_vectors, &world.item_vectors, 1).unwrap();
        for (count, sample) in [(200, true), (77, true), (57, false)] {
            let mut seen = Observation::of(&world, 3);
            for user in 0..count {
                let items = [user % 300, (user * 7) % 300];
                seen.push(user, &items[..user as usize % 3], &[1.0, 2.0][..user as usize % 3], 9, 300);
            }
            let whole = network.logits(&states(&network, &seen).unwrap()).unwrap().to_vec2::<f32>().unwrap();
            let mut same = 0;
            for rows in parts(count as usize, 300, false) {
                let of_part = seen.take(&rows.clone().collect::<Vec<_>>());
                let logits = network.logits(&states(&network, &of_part).unwrap()).unwrap().to_vec2::<f32>().unwrap();
                same += usize::from(logits == whole[rows]);
            }
            assert_eq!(same, parts(count as usize, 300, false).len());
            let of = |threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let mut draws: Vec<ChaCha8Rng> = (0..count).map(|k| rng(&[9, u64::from(k)])).collect();
                let agent = PolicyAgent { network: &network, sample };
                pool.install(|| agent.choose(&seen, &mut draws)).unwrap()
            };
            let mut draws: Vec<ChaCha8Rng> = (0..count).map(|k| rng(&[9, u64::from(k)])).collect();
            let uniforms: Vec<f64> = draws.iter_mut().map(|draw| draw.random()).collect();
            let alone = network.choose(&states(&network, &seen).unwrap(), sample.then_some(&uniforms[..])).unwrap();
            assert!([1, 2, 16].map(of).iter().all(|found| *found == alone));
        }
    }

    #[test]
    fn parts_cover_all_states_and_none_is_a_single_one_of_many() {
        for states in 0..200 {
            for (items, streams) in [(3, false), (300, false), (1682, false), (13_864, false), (13_864, true)] {
                let parts = parts(states, items, streams);
                assert_eq!(parts.iter().flat_map(Clone::clone).collect::<Vec<_>>(), (0..states).collect::<Vec<_>>());
                assert!(states < 2 || parts.iter().all(|part| part.len() > 1), "{states} {items}");
            }
        }
        assert_eq!(parts(64, 1682, false).len(), 4);
    }
}
