//! A world with known rewards: the matrix of a file, completed with a user simulator. Nothing is fitted.
//!
//! For data with a true matrix, such as Coat's: the evaluation world of protocols that have one. Left out: matrices in pieces
//! or with gaps.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use pipeline::{AssetName, Context, MemoryNeed, Requirement, Sizes, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::UserSimulator;
use super::world_memory::with_stored;
use crate::artifact::{ItemVectors, Items, Users, World, check_asset_path, read_matrix};

/// `world.matrix`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Matrix {
    /// The file, or the folder that holds it: one line per user, one number per item, separated by blanks.
    pub asset: AssetName,
    /// The file in the folder; absent if the asset is the file itself.
    #[serde(default)]
    pub member: Option<String>,
    /// How simulated users behave.
    #[serde(default)]
    pub simulator: UserSimulator,
}

pipeline::ports! {
    /// The users and items of the matrix.
    pub struct Inputs {
        /// The catalogue.
        items: Items,
        /// The users.
        users: Users,
        /// Where item distances and their threshold come from; the matrix itself without.
        distances: Option<World>,
        /// A vector for each item, for `simulator.distance: item_vectors`.
        item_vectors: Option<ItemVectors>,
    }
}

pipeline::ports! {
    /// The result.
    pub struct Outputs {
        /// The world.
        world: World,
    }
}

impl Stage for Matrix {
    const KIND: &'static str = "world.matrix";
    /// 1: first. 2: the world holds categories. 3: the world says whose its distances are.
    /// 4: `similar_fraction` leaves out pairs at 0 where they are so many that nothing would lie below them.
    const VERSION: u32 = 4;
    const ABOUT: &'static str = "read a true reward matrix as a simulated world";
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn assets(&self) -> Vec<AssetName> {
        vec![self.asset.clone()]
    }

    fn check(&self) -> Result<(), (String, String)> {
        check_asset_path(self.member.as_deref(), "member")?;
        self.simulator.check()
    }

    fn requirements(&self) -> Vec<Requirement> {
        self.simulator.requirements(false)
    }

    fn sizes(&self, inputs: &Sizes) -> Sizes {
        self.simulator.sizes(inputs, 1)
    }

    fn memory(&self, inputs: &Sizes) -> Option<MemoryNeed> {
        let size = [inputs.get("users")?, inputs.get("items")?];
        let help = "a matrix is stored whole: keep fewer users and items in the file and in the log, or fit a world to the ratings (`world.mf`)";
        Some(with_stored(MemoryNeed::new(help), size, 4, &self.simulator))
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let path = member_of(cx.asset(&self.asset)?, self.member.as_deref());
        let reward = read_matrix(&path)?;
        let (users, items) = (inputs.users.len(), inputs.items.len());
        ensure!(
            reward.shape == [users, items],
            "{} is {} × {}, the log has {users} users and {items} items\nhelp: rows are users and columns are items",
            path.display(),
            reward.shape[0],
            reward.shape[1]
        );
        let world = self.simulator.complete(
            inputs.distances.as_ref(),
            inputs.item_vectors.as_ref(),
            &inputs.items,
            &inputs.users,
            reward,
            cx,
        );
        let world = world.with_context(|| format!("complete {}", path.display()))?;
        Ok(Outputs { world })
    }
}

/// The file of an asset: the asset itself, or what it holds under that name.
pub(super) fn member_of(asset: &Path, member: Option<&str>) -> PathBuf {
    member.map_or_else(|| asset.to_path_buf(), |member| asset.join(member))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::small_log;

    #[test]
    fn the_matrix_is_the_reward_and_another_shape_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let run = |rows: usize| {
            let row = |user: usize| (0..8).map(|item| format!("{} ", 1 + (user * item) % 5)).collect::<String>() + "\n";
            std::fs::write(folder.path().join("m"), (0..rows).map(row).collect::<String>()).unwrap();
            let mut cx = Context::detached(folder.path());
            cx.add_asset("true", folder.path());
            let simulator = UserSimulator { embedding_dim: 2, ..UserSimulator::default() };
            let stage = Matrix { asset: AssetName("true".into()), member: Some("m".into()), simulator };
            let log = small_log();
            stage.run(Inputs { items: log.items, users: log.users, distances: None, item_vectors: None }, &cx)
        };
        assert_eq!(run(6).unwrap().world.reward(3, 2), 2.0);
        let error = run(5).err().unwrap().to_string();
        assert!(error.contains("m is 5 × 8, the log has 6 users and 8 items"), "{error}");
    }

    #[test]
    fn a_member_outside_of_the_asset_is_refused() {
        let stage = |member: &str| Matrix {
            asset: AssetName("a".into()),
            member: Some(member.into()),
            simulator: UserSimulator::default(),
        };
        assert!(stage("x/m.ascii").check().is_ok());
        for member in ["", "/etc/passwd", "../m", "x/../../m"] {
            assert_eq!(stage(member).check().unwrap_err().0, "member", "{member}");
        }
    }
}
