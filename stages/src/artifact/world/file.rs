//! A world as a file.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use pipeline::{Artifact, IdSpaces, Sizes};
use serde::{Deserialize, Serialize};

use super::{DistancesFrom, QuitRules, World};
use crate::artifact::distances::{DistanceDefinition, Distances};
use crate::artifact::stored_rewards::StoredRewards;
use crate::artifact::{Array, DiversityPenalty, Ids, TensorFile};

/// The description in a world's file.
#[derive(Serialize, Deserialize)]
struct About {
    rules: QuitRules,
    distances: DistancesFrom,
    /// Of distances that are computed when they are asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    distance_definition: Option<DistanceDefinition>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    diversity_penalty: Option<DiversityPenalty>,
    #[serde(default, skip_serializing_if = "StoredRewards::is_dense")]
    rewards: StoredRewards,
    /// Of the rewards whose columns are compared, where they are not the world's own; their arrays have names with [`DISTANCE`] before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    distance_rewards: Option<StoredRewards>,
}

/// What the names of arrays that distances are computed from begin with.
const DISTANCE: &str = "distance_";

impl World {
    /// The rules of a world's file, without reading the world.
    ///
    /// # Errors
    /// When the file is no world, or is damaged at its beginning.
    pub fn rules_of(path: &Path) -> Result<QuitRules> {
        let About { rules, .. } = TensorFile::about_of(path, Self::KIND, Self::FORMAT)?;
        Ok(rules)
    }
}

impl Artifact for World {
    const KIND: &'static str = "world";
    const EXTENSION: &'static str = "safetensors";
    /// 5: with the ids that its row numbers stand for. 6: quit rules and uncertainties have the names of the settings.
    const FORMAT: u32 = 6;
    const NUMBERED: bool = true;

    fn id_spaces(&self) -> IdSpaces {
        self.ids.spaces()
    }

    fn id_spaces_of(path: &Path) -> Result<IdSpaces> {
        TensorFile::id_spaces_of(path, Self::KIND, Self::FORMAT)
    }

    /// `users`, `items`, `embedding_dim`, `horizon`, and `world_bytes`, which a reader takes.
    fn sizes_of(path: &Path) -> Result<Sizes> {
        let shapes = TensorFile::shapes_of(path)?;
        let shape = |name: &str| {
            let shape = shapes.get(name).filter(|shape| shape.len() == 2);
            shape.with_context(|| format!("{} has no table `{name}`", path.display()))
        };
        let (users, items) = (shape("user_vectors")?, shape("item_vectors")?);
        let sizes = Sizes::of("users", users[0]).and(Sizes::of("items", items[0]));
        let sizes =
            sizes.and(Sizes::of("embedding_dim", items[1])).and(Sizes::of("horizon", Self::rules_of(path)?.horizon));
        Ok(sizes.and(Sizes::of("world_bytes", usize::try_from(std::fs::metadata(path)?.len())?)))
    }

    fn write(&self, path: &Path) -> Result<()> {
        let mut arrays = Vec::new();
        let mut file = TensorFile::new(&About {
            rules: self.rules.clone(),
            distances: self.distances.clone(),
            distance_definition: self.distance.definition(),
            diversity_penalty: self.diversity_penalty.clone(),
            rewards: StoredRewards::of(&self.rewards, "", &mut arrays),
            distance_rewards: self.distance.others().map(|others| StoredRewards::of(others, DISTANCE, &mut arrays)),
        })?;
        self.distance.write_into(&mut file, &mut arrays);
        let known = [
            ("user_vectors", Some(&self.user_vectors)),
            ("item_vectors", Some(&self.item_vectors)),
            ("ensemble_std", self.ensemble_std.as_ref()),
            ("predicted_std", self.predicted_std.as_ref()),
            ("bonus", self.bonus.as_ref()),
            ("categories", self.categories.as_ref()),
        ];
        arrays.extend(known.into_iter().filter_map(|(name, array)| Some((name.to_owned(), array?))));
        self.ids.write_into(&mut file);
        file.write_with(&arrays, path, Self::KIND, Self::FORMAT, &self.ids.spaces())
    }

    fn read(path: &Path) -> Result<Self> {
        let mut file = TensorFile::read(path, Self::KIND, Self::FORMAT)?;
        let about: About = file.about()?;
        let About { rules, distances, distance_definition, diversity_penalty, rewards, distance_rewards } = about;
        let rewards = rewards.read_from("", &mut file)?;
        let others = distance_rewards.map(|others| others.read_from(DISTANCE, &mut file)).transpose()?;
        let distance = Distances::read_from(&mut file, distance_definition, others)?;
        let vectors = [file.take("user_vectors")?, file.take("item_vectors")?];
        let mut world = Self {
            ensemble_std: file.arrays.remove("ensemble_std"),
            predicted_std: file.arrays.remove("predicted_std"),
            bonus: file.arrays.remove("bonus"),
            diversity_penalty,
            categories: file.arrays.remove("categories"),
            distances,
            ..Self::new(rewards, distance, vectors, rules)
        };
        let (users, items) = (world.users(), world.items());
        world.ids = Ids::read_from(&file, users, items)?;
        world.distance.check(&world.rewards)?;
        ensure!(world.user_vectors.shape[0] == users, "user_vectors is {:?}", world.user_vectors.shape);
        ensure!(world.item_vectors.shape[0] == items, "item_vectors is {:?}", world.item_vectors.shape);
        let fits =
            |array: &Option<Array>, wanted: &dyn Fn(&[usize]) -> bool| array.as_ref().is_none_or(|a| wanted(&a.shape));
        ensure!(fits(&world.ensemble_std, &|shape| shape == [users, items]), "ensemble_std is not {users} × {items}");
        ensure!(fits(&world.predicted_std, &|shape| shape == [users, items]), "predicted_std is not {users} × {items}");
        let places = items + 1;
        ensure!(fits(&world.bonus, &|shape| shape == [places, places]), "bonus is not {places} × {places}");
        ensure!(
            fits(&world.categories, &|shape| shape.len() == 2 && shape[0] == items),
            "categories are not of {items} items"
        );
        Ok(world)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_a_file_says_how_many_users_and_items() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("world");
        let array = |shape: [usize; 2]| Array::new(&shape, vec![0.5; shape[0] * shape[1]]);
        let vectors = [array([3, 1]), array([2, 1])];
        World::new(array([3, 2]), array([2, 2]), vectors, QuitRules::default()).write(&path).unwrap();
        let sizes = World::sizes_of(&path).unwrap();
        let found = ["users", "items", "embedding_dim", "horizon"].map(|of| sizes.get(of));
        assert_eq!(found, [Some(3), Some(2), Some(1), Some(30)]);
        assert_eq!(sizes.get("world_bytes"), Some(std::fs::metadata(&path).unwrap().len()));
        std::fs::write(&path, b"x").unwrap();
        assert!(World::sizes_of(&path).is_err());
    }
}
