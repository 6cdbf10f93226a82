//! A world as a file.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use pipeline::{Artifact, IdSpaces, Sizes};
use serde::{Deserialize, Serialize};

use super::{DistancesFrom, QuitRules, World};
use crate::artifact::distances::{DistanceDefinition, Distances};
use crate::artifact::session_bonus::SessionBonus;
use crate::artifact::stored_rewards::StoredRewards;
use crate::artifact::{Array, DiversityPenalty, FeatureColumn, Ids, ItemFeatures, TensorFile};

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
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    item_features: Vec<FeatureColumn>,
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
            item_features: self.item_features.as_ref().map(|features| features.columns.clone()).unwrap_or_default(),
            rewards: StoredRewards::of(&self.rewards, "", &mut arrays),
            distance_rewards: self.distance.others().map(|others| StoredRewards::of(others, DISTANCE, &mut arrays)),
        })?;
        self.distance.write_into(&mut file, &mut arrays);
        let known = [
            ("user_vectors", Some(&self.user_vectors)),
            ("item_vectors", Some(&self.item_vectors)),
            ("ensemble_std", self.ensemble_std.as_ref()),
            ("predicted_std", self.predicted_std.as_ref()),
            ("categories", self.categories.as_ref()),
        ];
        self.bonus.iter().for_each(|bonus| bonus.write_into(&mut file, &mut arrays));
        arrays.extend(known.into_iter().filter_map(|(name, array)| Some((name.to_owned(), array?))));
        arrays.extend(self.item_features.iter().flat_map(|features| features.arrays("")));
        self.ids.write_into(&mut file);
        file.write_with(&arrays, path, Self::KIND, Self::FORMAT, &self.ids.spaces())
    }

    fn read(path: &Path) -> Result<Self> {
        let mut file = TensorFile::read(path, Self::KIND, Self::FORMAT)?;
        let about: About = file.about()?;
        let About {
            rules,
            distances,
            distance_definition,
            diversity_penalty,
            rewards,
            distance_rewards,
            item_features,
        } = about;
        let rewards = rewards.read_from("", &mut file)?;
        let others = distance_rewards.map(|others| others.read_from(DISTANCE, &mut file)).transpose()?;
        let distance = Distances::read_from(&mut file, distance_definition, others)?;
        let vectors = [file.take("user_vectors")?, file.take("item_vectors")?];
        let mut world = Self {
            ensemble_std: file.arrays.remove("ensemble_std"),
            predicted_std: file.arrays.remove("predicted_std"),
            diversity_penalty,
            categories: file.arrays.remove("categories"),
            distances,
            ..Self::new(rewards, distance, vectors, rules)
        };
        let (users, items) = (world.users(), world.items());
        world.item_features = ItemFeatures::read_from(&mut file, "", item_features, items)?;
        world.bonus = SessionBonus::read_from(&mut file, items)?;
        world.ids = Ids::read_from(&file, users, items)?;
        world.distance.check(&world.rewards)?;
        for (name, array, rows) in
            [("user_vectors", &world.user_vectors, users), ("item_vectors", &world.item_vectors, items)]
        {
            ensure!(array.shape.len() == 2 && array.shape[0] == rows, "{name} is {:?} for {rows} rows", array.shape);
        }
        let fits =
            |array: &Option<Array>, wanted: &dyn Fn(&[usize]) -> bool| array.as_ref().is_none_or(|a| wanted(&a.shape));
        ensure!(fits(&world.ensemble_std, &|shape| shape == [users, items]), "ensemble_std is not {users} × {items}");
        ensure!(fits(&world.predicted_std, &|shape| shape == [users, items]), "predicted_std is not {users} × {items}");
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
    use crate::artifact::{ColumnDistances, Factored, Factors, SeenPairs, SetDistances, SetMeasure, VectorDistances};

    fn array(shape: &[usize], x: f32) -> Array {
        Array::new(shape, vec![x; shape.iter().product()])
    }

    /// Changes one array of a world's file, or what the file says, and gives the error of reading it.
    fn error_of(world: &World, change: impl Fn(&mut TensorFile)) -> String {
        let folder = tempfile::tempdir().unwrap();
        let [path, damaged] = ["world", "damaged"].map(|name| folder.path().join(name));
        world.write(&path).unwrap();
        assert_eq!(World::read(&path).unwrap(), *world);
        let mut file = TensorFile::read(&path, World::KIND, World::FORMAT).unwrap();
        change(&mut file);
        file.write(&damaged, World::KIND, World::FORMAT, &world.ids.spaces()).unwrap();
        World::read(&damaged).unwrap_err().to_string()
    }

    #[test]
    fn damaged_forms_are_refused_by_name() {
        let factors = Factors::of_product(array(&[3, 2], 1.0), array(&[2, 2], 0.5));
        let rewards = Factored { members: vec![factors], range: (1.0, 5.0), penalty: None };
        let world = |distances: Distances| {
            let vectors = [array(&[3, 1], 1.0), array(&[2, 1], 1.0)];
            World::new(rewards.clone(), distances, vectors, QuitRules::default())
        };
        let set = |name: &'static str, shape: &'static [usize], values: &'static [f32]| {
            move |file: &mut TensorFile| drop(file.arrays.insert(name.to_owned(), Array::new(shape, values.to_vec())))
        };
        let vectors = world(Distances::Vectors(VectorDistances::new(array(&[2, 3], 1.0))));
        let said = error_of(&vectors, set("distance_vectors", &[6], &[1.0; 6]));
        assert_eq!(said, "`distance_vectors` is [6], wanted items × numbers");
        let said = error_of(&vectors, set("distance_vectors", &[2, 1], &[f32::NAN, 1.0]));
        assert!(said.contains("not finite"), "{said}");
        let said = error_of(&vectors, set("item_vectors", &[], &[1.0]));
        assert_eq!(said, "item_vectors is [] for 2 rows");
        let said = error_of(&vectors, set("factors.0.items", &[2, 2], &[1.0, f32::INFINITY, 1.0, 1.0]));
        assert!(said.contains("not all finite"), "{said}");
        let said = error_of(&vectors, |file| file.about = file.about.replace("[1.0,5.0]", "[5.0,1.0]"));
        assert_eq!(said, "the rewards are clamped to 5 to 1, which is no range");
        let some = world(Distances::Columns(ColumnDistances::new(Some(vec![0, 2]))));
        for wrong in [&[2.0, 0.0], &[0.0, 0.5], &[0.0, f32::NAN], &[0.0, 3.0]] {
            let said = error_of(&some, set("distance_users", &[2], wrong));
            assert!(said.contains("distance_users"), "{said}");
        }
        let sets = SetDistances::new(SetMeasure::Jaccard, &[vec![(0, 1)], vec![(0, 1), (1, 1)]]);
        let said = error_of(&world(Distances::Sets(sets)), set("distance_members", &[3], &[0.0, 0.0, 3e38]));
        assert!(said.starts_with("`distance_members` holds 3"), "{said}");
    }

    #[test]
    fn damaged_bonuses_are_refused_by_name() {
        let vectors = [array(&[3, 1], 1.0), array(&[2, 1], 1.0)];
        let mut world = World::new(array(&[3, 2], 1.0), array(&[2, 2], 0.0), vectors, QuitRules::default());
        let pairs = [((0, 1), 0.5), ((1, 2), 0.25)].into();
        world.bonus = Some(SessionBonus::Seen(SeenPairs::new(vec![1.0, 2.0, 2.0], pairs)));
        let set = |name: &'static str, shape: &'static [usize], values: &'static [f32]| {
            move |file: &mut TensorFile| drop(file.arrays.insert(name.to_owned(), Array::new(shape, values.to_vec())))
        };
        let said = error_of(&world, set("bonus_pairs", &[2, 2], &[1.0, 2.0, 0.0, 1.0]));
        assert_eq!(said, "`bonus_pairs` does not rise");
        let said = error_of(&world, set("bonus_pairs", &[2, 2], &[0.0, 1.0, 1.0, 3.0]));
        assert!(said.starts_with("`bonus_pairs` holds 3"), "{said}");
        let said = error_of(&world, set("bonus_after_two", &[1], &[1.0]));
        assert!(said.starts_with("2 pairs have [1] bonuses"), "{said}");
        let said = error_of(&world, set("bonus_after_one", &[3], &[f32::NAN, 1.0, 1.0]));
        assert!(said.contains("no finite number"), "{said}");
    }

    #[test]
    fn the_beginning_of_a_file_says_how_many_users_and_items() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("world");
        let vectors = [array(&[3, 1], 0.5), array(&[2, 1], 0.5)];
        World::new(array(&[3, 2], 0.5), array(&[2, 2], 0.5), vectors, QuitRules::default()).write(&path).unwrap();
        let sizes = World::sizes_of(&path).unwrap();
        let found = ["users", "items", "embedding_dim", "horizon"].map(|of| sizes.get(of));
        assert_eq!(found, [Some(3), Some(2), Some(1), Some(30)]);
        assert_eq!(sizes.get("world_bytes"), Some(std::fs::metadata(&path).unwrap().len()));
        std::fs::write(&path, b"x").unwrap();
        assert!(World::sizes_of(&path).is_err());
    }
}
