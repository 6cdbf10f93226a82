//! The agent's memory: reflections and advantages of earlier episodes, recalled for a user from the most similar users. The search
//! is exact, over the world's user vectors or over embeddings of the users' profiles. An agent without a reflector recalls the texts
//! of the user itself, which `hint_policy` chose.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::agent::{RoleSettings, UserSimilarity};
use crate::artifact::{Memories, Memory, World};

/// Embeds texts, one vector each.
type Embed<'e> = dyn Fn(&[String]) -> Result<Vec<Vec<f32>>> + 'e;

/// All memories so far.
pub(super) struct MemoryStore<'a> {
    world: &'a World,
    n_neighbors: usize,
    min_similarity: f64,
    memories: Vec<Memory>,
    /// Embeddings of the users' profiles, where the similarity is computed from them; users without a profile have none.
    text_vectors: Option<BTreeMap<u32, Vec<f32>>>,
}

/// What is recalled for one user.
#[derive(Debug, Default, PartialEq)]
pub(super) struct RecalledMemory {
    /// Reflections on the most similar users, most similar first.
    pub reflections: Vec<String>,
    /// Sum of the advantages of each item with these users.
    pub advantages: BTreeMap<u32, f32>,
    /// Texts of the user itself, oldest first.
    pub hints: Vec<String>,
}

impl<'a> MemoryStore<'a> {
    /// The memory before the first episode.
    pub fn new(settings: &RoleSettings, world: &'a World, before: Option<&Memories>) -> Self {
        let memories = before.map_or_else(Vec::new, |before| before.0.clone());
        let text_vectors = (settings.similarity == UserSimilarity::Texts).then(BTreeMap::new);
        Self {
            world,
            n_neighbors: settings.n_neighbors,
            min_similarity: settings.min_similarity,
            memories,
            text_vectors,
        }
    }

    /// Embeds the profiles of `users` and of all users in the memory, where they are not embedded yet. `profile` gives the profile
    /// of one of the world's users, `vectors` the embeddings of texts.
    pub fn embed_users(
        &mut self,
        users: &[u32],
        profile: &dyn Fn(u32) -> Result<String>,
        vectors: &Embed,
    ) -> Result<()> {
        let known = self.text_vectors.get_or_insert_default();
        let users = self.memories.iter().map(Memory::user).chain(users.iter().copied());
        let new: BTreeSet<u32> = users.filter(|user| !known.contains_key(user)).collect();
        let mut profiles: Vec<(u32, String)> = Vec::new();
        for user in new.into_iter().filter(|user| (*user as usize) < self.world.users()) {
            profiles.push((user, profile(user)?));
        }
        profiles.retain(|(_, text)| !text.is_empty());
        let (users, texts): (Vec<u32>, Vec<String>) = profiles.into_iter().unzip();
        if !texts.is_empty() {
            known.extend(users.into_iter().zip(vectors(&texts)?));
        }
        Ok(())
    }

    /// The memories of the users most similar to `user`; ties by the lower number.
    pub fn recall(&self, user: u32) -> RecalledMemory {
        let mut users: Vec<u32> = self.memories.iter().map(Memory::user).collect();
        users.sort_unstable();
        users.dedup();
        let mut nearest: Vec<(f64, u32)> = users
            .into_iter()
            .map(|other| (self.similarity(user, other), other))
            .filter(|(s, _)| *s >= self.min_similarity)
            .collect();
        nearest.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        nearest.truncate(self.n_neighbors);
        let mut recalled = RecalledMemory::default();
        for (_, other) in nearest {
            for memory in self.memories.iter().filter(|memory| memory.user() == other) {
                match memory {
                    Memory::Reflection { text, .. } => recalled.reflections.push(text.clone()),
                    Memory::Action { item, advantage, .. } => {
                        *recalled.advantages.entry(*item).or_default() += advantage
                    }
                }
            }
        }
        recalled
    }

    /// The texts that are remembered of `user` itself, oldest first, as hints: what an agent without a reflector recalls.
    pub fn own(&self, user: u32) -> RecalledMemory {
        let text = |memory: &Memory| match memory {
            Memory::Reflection { user: own, text, .. } if *own == user => Some(text.clone()),
            _ => None,
        };
        RecalledMemory { hints: self.memories.iter().filter_map(text).collect(), ..RecalledMemory::default() }
    }

    /// The cosine of two users' vectors; 0 where one has none, such as a user of another world.
    fn similarity(&self, a: u32, b: u32) -> f64 {
        let row = |user: u32| match &self.text_vectors {
            Some(known) => known.get(&user).map(Vec::as_slice),
            None => ((user as usize) < self.world.users()).then(|| self.world.user_vectors.row(user as usize)),
        };
        let (Some(a), Some(b)) = (row(a), row(b)) else { return 0.0 };
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
        let size = (dot(a, a) * dot(b, b)).sqrt();
        if size > 0.0 { dot(a, b) / size } else { 0.0 }
    }

    /// Adds the memories of a batch of episodes.
    pub fn extend(&mut self, memories: impl IntoIterator<Item = Memory>) {
        self.memories.extend(memories);
    }

    /// All memories, oldest first.
    pub fn into_memories(self) -> Memories {
        Memories(self.memories)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::cluster_world;

    #[test]
    fn memories_of_the_most_similar_users_are_recalled() {
        let mut world = cluster_world(&[5.0, 4.0], 2, 2, 4, 4);
        let width = world.user_vectors.shape[1];
        let axis = |user: usize, values: [f32; 2]| (user * width, values);
        world.user_vectors.data.fill(0.0);
        for (at, values) in [axis(0, [1.0, 0.0]), axis(1, [2.0, 0.1]), axis(2, [0.0, 1.0]), axis(3, [-1.0, 0.0])] {
            world.user_vectors.data[at..at + 2].copy_from_slice(&values);
        }
        let reflection = |user: u32| Memory::Reflection { user, total: 1.0, text: format!("of {user}") };
        let action = |user: u32, advantage: f32| Memory::Action { user, step: 0, item: 1, value: 0.0, advantage };
        let before = Memories(vec![
            reflection(3),
            reflection(2),
            action(2, -3.0),
            reflection(1),
            action(1, 1.0),
            action(1, 0.5),
        ]);
        let of = |n_neighbors: usize, min_similarity: f64| {
            let settings = RoleSettings { n_neighbors, min_similarity, ..RoleSettings::default() };
            MemoryStore::new(&settings, &world, Some(&before)).recall(0)
        };
        let recalled = |texts: &[&str], advantage: f32| RecalledMemory {
            reflections: texts.iter().map(|&text| text.to_owned()).collect(),
            advantages: [(1, advantage)].into(),
            hints: vec![],
        };
        assert_eq!(of(1, -1.0), recalled(&["of 1"], 1.5));
        assert_eq!(of(9, 0.0), recalled(&["of 1", "of 2"], -1.5));
        assert_eq!(of(0, -1.0), RecalledMemory::default());
        let store = MemoryStore::new(&RoleSettings::default(), &world, Some(&before));
        let hints = RecalledMemory { hints: vec!["of 2".into()], ..RecalledMemory::default() };
        assert_eq!((store.own(2), store.own(0)), (hints, RecalledMemory::default()), "of no neighbour, and no action");
        assert_eq!(of(9, 0.999).reflections, Vec::<String>::new());
    }
}
