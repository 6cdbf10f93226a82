//! A trained policy as an agent.

use anyhow::{Result, ensure};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::{Agent, Episodes, Observation, observe};
use crate::artifact::PolicyFile;
use crate::nn::sampled_softmax::Candidates;
use crate::nn::state_batch::StateBatch;
use crate::nn::{ActorCritic, PolicyNetwork, policy_io};

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

impl PolicyAgent<'_> {
    fn choose(&self, observation: &Observation, draws: &mut [ChaCha8Rng]) -> Result<Vec<u32>> {
        let config = self.network.config();
        let states = states(self.network, observation)?;
        let logits = self.network.logits(&states)?.flatten_all()?.to_vec1::<f32>()?;
        let rows = logits.chunks_exact(config.items);
        Ok(rows.zip(draws).map(|(row, draw)| if self.sample { sample(row, draw) } else { best(row) }).collect())
    }
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

/// The index of the largest value; the first of equals.
fn best(row: &[f32]) -> u32 {
    let mut best = 0;
    for (k, &value) in row.iter().enumerate() {
        if value > row[best] {
            best = k;
        }
    }
    best as u32
}

/// An index drawn from softmax(row), by inversion, with one draw.
pub fn sample(row: &[f32], draw: &mut ChaCha8Rng) -> u32 {
    let high = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let total: f64 = row.iter().map(|&x| f64::from((x - high).exp())).sum();
    let mut left = draw.random::<f64>() * total;
    for (k, &x) in row.iter().enumerate() {
        left -= f64::from((x - high).exp());
        if left < 0.0 {
            return k as u32;
        }
    }
    best(row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::cluster_world;
    use crate::nn::actor_critic::ActorCriticConfig;
    use crate::nn::{ActorCritic, Encoder, rng};

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

    #[test]
    fn samples_follow_the_softmax() {
        let row = [0.0, 2.0_f32.ln(), 5.0_f32.ln()];
        let mut counts = [0; 3];
        let mut draw = rng(&[1]);
        for _ in 0..8000 {
            counts[sample(&row, &mut draw) as usize] += 1;
        }
        for (count, expected) in counts.iter().zip([1000.0, 2000.0, 5000.0]) {
            assert!((f64::from(*count) - expected).abs() < 150.0, "{counts:?}");
        }
        assert_eq!(best(&row), 2);
    }
}
