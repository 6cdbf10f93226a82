//! What an agent remembers of the users it recommended to.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use arrow::array::{Array, ArrayRef, Float32Array, StringArray, UInt32Array};
use pipeline::{Artifact, IdSpaces};

use super::frame;

/// One thing remembered.
#[derive(Clone, Debug, PartialEq)]
pub enum Memory {
    /// What the reflector wrote after an episode, or the hint that `hint_policy` chose.
    Reflection {
        /// The episode's user.
        user: u32,
        /// What the episode returned; of a hint NDCG@10 in the user's session.
        total: f32,
        /// The words.
        text: String,
    },
    /// How an action turned out, by the critic.
    Action {
        /// The episode's user.
        user: u32,
        /// The turn, from 0.
        step: u32,
        /// What was recommended.
        item: u32,
        /// The critic's value of the history after it.
        value: f32,
        /// r + γ·v_t − v_{t−1}: at 0 or more it was good.
        advantage: f32,
    },
}

impl Memory {
    /// Whose episode it is of.
    #[must_use]
    pub fn user(&self) -> u32 {
        match self {
            Self::Reflection { user, .. } | Self::Action { user, .. } => *user,
        }
    }
}

/// Parquet, one row a memory, oldest first: `kind: utf8` (`reflection` or `action`), `user: u32`, `step: u32?`, `item: u32?`,
/// `value: f32` (the critic's value, of a reflection the episode's return, of a hint NDCG@10), `advantage: f32?`, `text: utf8?`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memories(pub Vec<Memory>);

impl Artifact for Memories {
    const KIND: &'static str = "memories";
    const EXTENSION: &'static str = "parquet";
    /// 2: with the spaces of ids that its row numbers belong to.
    const FORMAT: u32 = 2;
    const NUMBERED: bool = true;

    fn write(&self, path: &Path) -> Result<()> {
        self.write_within(path, &IdSpaces::default())
    }

    fn id_spaces_of(path: &Path) -> Result<IdSpaces> {
        frame::parquet_id_spaces(path, Self::KIND, Self::FORMAT)
    }

    fn write_within(&self, path: &Path, spaces: &IdSpaces) -> Result<()> {
        let rows = || self.0.iter();
        let number = |of: fn(&Memory) -> Option<u32>| -> ArrayRef { Arc::new(rows().map(of).collect::<UInt32Array>()) };
        let real = |of: fn(&Memory) -> Option<f32>| -> ArrayRef { Arc::new(rows().map(of).collect::<Float32Array>()) };
        let text = |of: fn(&Memory) -> Option<&str>| -> ArrayRef { Arc::new(rows().map(of).collect::<StringArray>()) };
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("kind", text(|m| Some(if matches!(m, Memory::Reflection { .. }) { "reflection" } else { "action" }))),
            ("user", number(|m| Some(m.user()))),
            ("step", number(|m| if let Memory::Action { step, .. } = m { Some(*step) } else { None })),
            ("item", number(|m| if let Memory::Action { item, .. } = m { Some(*item) } else { None })),
            (
                "value",
                real(|m| match m {
                    Memory::Reflection { total, .. } => Some(*total),
                    Memory::Action { value, .. } => Some(*value),
                }),
            ),
            ("advantage", real(|m| if let Memory::Action { advantage, .. } = m { Some(*advantage) } else { None })),
            ("text", text(|m| if let Memory::Reflection { text, .. } = m { Some(text) } else { None })),
        ];
        frame::write_parquet(path, &frame::batch_within(Self::KIND, Self::FORMAT, spaces, columns)?)
    }

    fn read(path: &Path) -> Result<Self> {
        let batch = frame::read_parquet(path, Self::KIND, Self::FORMAT)?;
        let (kind, user) =
            (frame::column::<StringArray>(&batch, "kind")?, frame::column::<UInt32Array>(&batch, "user")?);
        let (step, item) =
            (frame::nullable::<UInt32Array>(&batch, "step")?, frame::nullable::<UInt32Array>(&batch, "item")?);
        let value = frame::nullable::<Float32Array>(&batch, "value")?;
        let advantage = frame::nullable::<Float32Array>(&batch, "advantage")?;
        let text = frame::nullable::<StringArray>(&batch, "text")?;
        let whole = |column: &UInt32Array, row: usize| column.is_valid(row).then(|| column.value(row));
        let real = |column: &Float32Array, row: usize| column.is_valid(row).then(|| column.value(row));
        let one = |row: usize| {
            let user = user.value(row);
            match kind.value(row) {
                "reflection" => {
                    let text = text.is_valid(row).then(|| text.value(row).to_owned())?;
                    Some(Memory::Reflection { user, total: real(value, row)?, text })
                }
                "action" => Some(Memory::Action {
                    user,
                    step: whole(step, row)?,
                    item: whole(item, row)?,
                    value: real(value, row)?,
                    advantage: real(advantage, row)?,
                }),
                _ => None,
            }
        };
        let row =
            |row| one(row).with_context(|| format!("row {row} of the memories is neither a reflection nor an action"));
        Ok(Self((0..batch.num_rows()).map(row).collect::<Result<_>>()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("memories");
        let memories = Memories(vec![
            Memory::Action { user: 3, step: 0, item: 7, value: -2.0, advantage: 1.5 },
            Memory::Reflection { user: 3, total: 12.5, text: "Vary more.".into() },
        ]);
        memories.write(&path).unwrap();
        assert_eq!(Memories::read(&path).unwrap(), memories);
    }
}
