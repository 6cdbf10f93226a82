//! Hints for a language model, and what became of those that were proposed.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use arrow::array::{Array, ArrayRef, Float32Array, StringArray, UInt32Array};
use pipeline::{Artifact, IdSpaces};

use super::frame;

/// What became of a proposed hint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HintVerdict {
    /// It passed every check.
    Kept,
    /// It names an item's title, or three words of it in a row.
    Leaks,
    /// It says the same as a kept one.
    Redundant,
    /// With it the model does not find the item that it missed.
    Ineffective,
    /// It is no instruction: empty, or too short.
    Empty,
}

impl HintVerdict {
    const ALL: [Self; 5] = [Self::Kept, Self::Leaks, Self::Redundant, Self::Ineffective, Self::Empty];
}

impl fmt::Display for HintVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kept => "kept",
            Self::Leaks => "leaks",
            Self::Redundant => "redundant",
            Self::Ineffective => "ineffective",
            Self::Empty => "empty",
        })
    }
}

impl FromStr for HintVerdict {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match Self::ALL.into_iter().find(|verdict| verdict.to_string() == text) {
            Some(verdict) => Ok(verdict),
            None => bail!("`{text}` is no verdict on a hint"),
        }
    }
}

/// The session that a hint was learned from.
#[derive(Clone, Debug, PartialEq)]
pub struct HintOrigin {
    /// The session's number.
    pub session: u32,
    /// The user.
    pub user: u32,
    /// The item that the model missed.
    pub target: u32,
    /// NDCG@10 of the target without the hint.
    pub ndcg_without: f32,
    /// NDCG@10 of the target with it; `None` where an earlier check failed or the model did not answer.
    pub ndcg_with: Option<f32>,
}

/// One proposed hint.
#[derive(Clone, Debug, PartialEq)]
pub struct Hint {
    /// Its name, unique: `h01`, `h02`, … in the order of proposal.
    pub id: String,
    /// The instruction, one line.
    pub text: String,
    /// How it came about: `template` or `reflective`.
    pub kind: String,
    /// What became of it.
    pub verdict: HintVerdict,
    /// The session that it was learned from; `None` where it was filled in from the log.
    pub origin: Option<HintOrigin>,
}

impl Hint {
    /// The name of the prompt that tells it beside what `strategy` tells: `recent + h03`.
    #[must_use]
    pub fn prompt(&self, strategy: &str) -> String {
        format!("{strategy} + {}", self.id)
    }
}

/// Parquet, one row a proposed hint: `id: utf8`, `text: utf8`, `kind: utf8` (`template` or `reflective`), `verdict: utf8` (`kept`,
/// `leaks`, `redundant`, `ineffective`, `empty`), and of the session that it was learned from `session: u32?`, `user: u32?`,
/// `target: u32?`, `ndcg_without: f32?`, `ndcg_with: f32?`. Only kept hints are told to a model. The empty hint, a prompt without a hint,
/// has no row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hints(pub Vec<Hint>);

impl Hints {
    /// Those that may be told to a model, in their order.
    pub fn kept(&self) -> impl Iterator<Item = &Hint> {
        self.0.iter().filter(|hint| hint.verdict == HintVerdict::Kept)
    }

    /// The hint that a prompt of a table of prompts tells: the name of the prompt ends in the hint's (`recent + h03`).
    #[must_use]
    pub fn told_by(&self, prompt: &str) -> Option<&Hint> {
        let id = prompt.rsplit(' ').next()?;
        self.0.iter().find(|hint| hint.id == id)
    }
}

impl Artifact for Hints {
    const KIND: &'static str = "hints";
    const EXTENSION: &'static str = "parquet";
    const FORMAT: u32 = 1;
    const NUMBERED: bool = true;

    fn write(&self, path: &Path) -> Result<()> {
        self.write_within(path, &IdSpaces::default())
    }

    fn id_spaces_of(path: &Path) -> Result<IdSpaces> {
        frame::parquet_id_spaces(path, Self::KIND, Self::FORMAT)
    }

    fn write_within(&self, path: &Path, spaces: &IdSpaces) -> Result<()> {
        let rows = || self.0.iter();
        let text = |of: fn(&Hint) -> &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(rows().map(of))) };
        let number = |of: fn(&HintOrigin) -> u32| -> ArrayRef {
            Arc::new(rows().map(|hint| hint.origin.as_ref().map(of)).collect::<UInt32Array>())
        };
        let real = |of: fn(&HintOrigin) -> Option<f32>| -> ArrayRef {
            Arc::new(rows().map(|hint| hint.origin.as_ref().and_then(of)).collect::<Float32Array>())
        };
        let verdicts = StringArray::from_iter_values(rows().map(|hint| hint.verdict.to_string()));
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("id", text(|hint| &hint.id)),
            ("text", text(|hint| &hint.text)),
            ("kind", text(|hint| &hint.kind)),
            ("verdict", Arc::new(verdicts)),
            ("session", number(|origin| origin.session)),
            ("user", number(|origin| origin.user)),
            ("target", number(|origin| origin.target)),
            ("ndcg_without", real(|origin| Some(origin.ndcg_without))),
            ("ndcg_with", real(|origin| origin.ndcg_with)),
        ];
        frame::write_parquet(path, &frame::batch_within(Self::KIND, Self::FORMAT, spaces, columns)?)
    }

    fn read(path: &Path) -> Result<Self> {
        let batch = frame::read_parquet(path, Self::KIND, Self::FORMAT)?;
        let text = |name| frame::column::<StringArray>(&batch, name);
        let (id, words, kind, verdict) = (text("id")?, text("text")?, text("kind")?, text("verdict")?);
        let number = |name| frame::nullable::<UInt32Array>(&batch, name);
        let (session, user, target) = (number("session")?, number("user")?, number("target")?);
        let real = |name| frame::nullable::<Float32Array>(&batch, name);
        let (without, with) = (real("ndcg_without")?, real("ndcg_with")?);
        let known = |column: &UInt32Array, row: usize| column.is_valid(row).then(|| column.value(row));
        let origin = |row: usize| -> Result<Option<HintOrigin>> {
            let Some(session) = known(session, row) else { return Ok(None) };
            let lacks = || format!("hint {row} lacks its user, its target or its NDCG");
            Ok(Some(HintOrigin {
                session,
                user: known(user, row).with_context(lacks)?,
                target: known(target, row).with_context(lacks)?,
                ndcg_without: without.is_valid(row).then(|| without.value(row)).with_context(lacks)?,
                ndcg_with: with.is_valid(row).then(|| with.value(row)),
            }))
        };
        let hint = |row: usize| -> Result<Hint> {
            Ok(Hint {
                id: id.value(row).to_owned(),
                text: words.value(row).to_owned(),
                kind: kind.value(row).to_owned(),
                verdict: verdict.value(row).parse()?,
                origin: origin(row)?,
            })
        };
        Ok(Self((0..batch.num_rows()).map(hint).collect::<Result<_>>()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_only_kept_hints_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hints");
        let hint = |id: &str, verdict, origin| Hint {
            id: id.into(),
            text: "Prefer what is old.".into(),
            kind: "reflective".into(),
            verdict,
            origin,
        };
        let origin = HintOrigin { session: 4, user: 2, target: 7, ndcg_without: 0.0, ndcg_with: Some(0.5) };
        let unasked = HintOrigin { ndcg_with: None, ..origin.clone() };
        let hints = Hints(vec![
            hint("h01", HintVerdict::Kept, Some(origin)),
            hint("h02", HintVerdict::Leaks, Some(unasked)),
            hint("h03", HintVerdict::Kept, None),
        ]);
        hints.write(&path).unwrap();
        assert_eq!(Hints::read(&path).unwrap(), hints);
        assert_eq!(hints.kept().map(|hint| hint.id.as_str()).collect::<Vec<_>>(), ["h01", "h03"]);
        assert_eq!(hints.told_by(&hints.0[1].prompt("recent")), Some(&hints.0[1]));
        assert_eq!((hints.told_by("recent"), hints.told_by("h03")), (None, Some(&hints.0[2])));
    }

    #[test]
    fn every_verdict_is_read_by_its_word() {
        for verdict in HintVerdict::ALL {
            assert_eq!(verdict.to_string().parse::<HintVerdict>().unwrap(), verdict);
        }
        assert_eq!("good".parse::<HintVerdict>().unwrap_err().to_string(), "`good` is no verdict on a hint");
    }
}
