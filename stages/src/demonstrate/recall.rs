//! What the expert remembers, and what of it comes to mind with a user: that of the people most alike, by exact search among
//! the world's vectors, or among those of the texts that their episodes begin with.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::expert::{AlikeBy, RoleSettings};
use crate::artifact::{Memories, Memory, World};

/// Turns texts into vectors, one for each.
type Embed<'e> = dyn Fn(&[String]) -> Result<Vec<Vec<f32>>> + 'e;

/// All that is remembered so far.
pub(super) struct Recall<'a> {
    world: &'a World,
    most: usize,
    above: f64,
    memories: Vec<Memory>,
    /// What people's beginnings mean, where that makes them alike; nothing of those who have none.
    meanings: Option<BTreeMap<u32, Vec<f32>>>,
}

/// What comes to mind with one user.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Recalled {
    /// Reflections on the people most alike, the nearest first.
    pub reflections: Vec<String>,
    /// Σ of the advantages of each item with these people.
    pub advantages: BTreeMap<u32, f32>,
}

impl<'a> Recall<'a> {
    /// What is known before the first episode.
    pub fn new(settings: &RoleSettings, world: &'a World, before: Option<&Memories>) -> Self {
        let memories = before.map_or_else(Vec::new, |before| before.0.clone());
        let meanings = (settings.alike_by == AlikeBy::Texts).then(BTreeMap::new);
        Self { world, most: settings.recall, above: settings.above, memories, meanings }
    }

    /// Learns the meaning of the beginnings of `users` and of all who are remembered, as far as it is not known yet. `start`
    /// gives the beginning of one of the world's people, `vectors` those of texts.
    pub fn meet(&mut self, users: &[u32], start: &dyn Fn(u32) -> Result<String>, vectors: &Embed) -> Result<()> {
        let known = self.meanings.get_or_insert_default();
        let people = self.memories.iter().map(Memory::user).chain(users.iter().copied());
        let new: BTreeSet<u32> = people.filter(|user| !known.contains_key(user)).collect();
        let mut told: Vec<(u32, String)> = Vec::new();
        for user in new.into_iter().filter(|user| (*user as usize) < self.world.users()) {
            told.push((user, start(user)?));
        }
        told.retain(|(_, text)| !text.is_empty());
        let (users, texts): (Vec<u32>, Vec<String>) = told.into_iter().unzip();
        if !texts.is_empty() {
            known.extend(users.into_iter().zip(vectors(&texts)?));
        }
        Ok(())
    }

    /// What comes to mind with `user`. Of equally near people the lower number counts first.
    pub fn of(&self, user: u32) -> Recalled {
        let mut people: Vec<u32> = self.memories.iter().map(Memory::user).collect();
        people.sort_unstable();
        people.dedup();
        let mut near: Vec<(f64, u32)> = people
            .into_iter()
            .map(|other| (self.alike(user, other), other))
            .filter(|(s, _)| *s >= self.above)
            .collect();
        near.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        near.truncate(self.most);
        let mut recalled = Recalled::default();
        for (_, person) in near {
            for memory in self.memories.iter().filter(|memory| memory.user() == person) {
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

    /// The cosine of two people's vectors; 0 where one has none, as a person of another world.
    fn alike(&self, a: u32, b: u32) -> f64 {
        let row = |user: u32| match &self.meanings {
            Some(known) => known.get(&user).map(Vec::as_slice),
            None => ((user as usize) < self.world.users()).then(|| self.world.user_vectors.row(user as usize)),
        };
        let (Some(a), Some(b)) = (row(a), row(b)) else { return 0.0 };
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
        let size = (dot(a, a) * dot(b, b)).sqrt();
        if size > 0.0 { dot(a, b) / size } else { 0.0 }
    }

    /// Remembers what a batch of episodes left.
    pub fn keep(&mut self, memories: impl IntoIterator<Item = Memory>) {
        self.memories.extend(memories);
    }

    /// All of it, oldest first.
    pub fn into_memories(self) -> Memories {
        Memories(self.memories)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::cluster_world;

    #[test]
    fn the_people_most_alike_come_to_mind() {
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
        let of = |recall: usize, above: f64| {
            let settings = RoleSettings { recall, above, ..RoleSettings::default() };
            Recall::new(&settings, &world, Some(&before)).of(0)
        };
        assert_eq!(of(1, -1.0), Recalled { reflections: vec!["of 1".into()], advantages: [(1, 1.5)].into() });
        assert_eq!(
            of(9, 0.0),
            Recalled { reflections: vec!["of 1".into(), "of 2".into()], advantages: [(1, -1.5)].into() }
        );
        assert_eq!(of(0, -1.0), Recalled::default());
        assert_eq!(of(9, 0.999).reflections, Vec::<String>::new());
    }
}
