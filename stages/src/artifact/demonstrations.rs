//! Episodes of a language model, step by step, and the calls behind them.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use arrow::array::{
    Array, Float32Array, Float32Builder, ListArray, ListBuilder, RecordBatch, StringArray, UInt32Array, UInt32Builder,
};
use pipeline::{Artifact, IdSpaces};

use super::termination::Termination;
use super::{Origin, World, frame};

/// The column that demonstrations of a search have.
const SEARCHED_IN: &str = "searched_in";

/// One step of a demonstration.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The item that was recommended.
    pub item: u32,
    /// The reward.
    pub reward: f32,
    /// The candidates that the model chose from.
    pub candidates: Vec<u32>,
    /// The model's score of each candidate (natural-log probability a token), empty where the provider has none. Of a search: the value
    /// of the best path that begins with each candidate, −∞ where none was followed.
    pub scores: Vec<f32>,
    /// The key of the call behind it, see [`Calls`].
    pub call: String,
}

impl Step {
    /// How sure the model was: log of the share of the chosen candidate under softmax of the scores; 0 where it gave none.
    #[must_use]
    pub fn log_confidence(&self) -> f64 {
        let chosen = self.candidates.iter().position(|&item| item == self.item);
        let Some(&score) = chosen.and_then(|place| self.scores.get(place)) else { return 0.0 };
        let high = self.scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let total: f64 = self.scores.iter().map(|s| f64::from(s - high).exp()).sum();
        f64::from(score - high) - total.ln()
    }
}

/// One episode.
#[derive(Clone, Debug, PartialEq)]
pub struct Trajectory {
    /// The user.
    pub user: u32,
    /// Its steps, in order, at least one.
    pub steps: Vec<Step>,
    /// Why it ended.
    pub end: Termination,
}

impl Trajectory {
    /// Whether the last step is terminal in a world of that horizon: the user quit, or no turn is left. Otherwise the trajectory
    /// was truncated early.
    #[must_use]
    pub fn terminal(&self, horizon: usize) -> bool {
        self.end.terminal() || self.steps.len() >= horizon
    }
}

/// Arrow IPC, one row a step, ordered by trajectory and step: `trajectory: u32`, `user: u32`, `step: u32`, `item: u32`,
/// `reward: f32`, `end: utf8` (of the trajectory: `similar`, `low_reward`, `category`, `stopped` or `horizon`), `candidates:
/// list<u32>`,
/// `scores: list<f32>`, `call: utf8`; of demonstrations that were searched for also `searched_in: utf8`, the same in every row: a JSON
/// list of the [origins](Origin).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Demonstrations {
    /// The episodes.
    pub trajectories: Vec<Trajectory>,
    /// The worlds in which they were searched for: whoever shows or copies them knows what these know, as if it had learned there.
    pub searched_in: Vec<Origin>,
}

impl Demonstrations {
    /// Episodes that were not searched for.
    #[must_use]
    pub fn new(trajectories: Vec<Trajectory>) -> Self {
        Self { trajectories, searched_in: Vec::new() }
    }

    /// The same, searched for in `model` by a stage of the kind `stage`.
    #[must_use]
    pub fn searched(mut self, stage: &str, model: &World) -> Self {
        let origin = Origin::of(stage, model);
        if !self.searched_in.contains(&origin) {
            self.searched_in.push(origin);
        }
        self
    }

    /// [`World::rewards_digest`] of the worlds behind a search.
    #[must_use]
    pub fn searched_worlds(&self) -> Vec<String> {
        self.searched_in.iter().map(|origin| origin.learned_in.clone()).collect()
    }

    /// All steps in file order with the trajectory and step they belong to.
    pub fn steps(&self) -> impl Iterator<Item = (usize, usize, &Step)> {
        self.trajectories
            .iter()
            .enumerate()
            .flat_map(|(t, trajectory)| trajectory.steps.iter().enumerate().map(move |(s, step)| (t, s, step)))
    }

    /// BLAKE3 of all that is learned from, in hex: users, ends, items, rewards, candidates and scores. Which calls are behind them is
    /// left out: the same steps are the same demonstrations.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        // Every number as four bytes, and how many there are before each list, so that no two demonstrations read alike.
        let mut tell = |number: u32| _ = hasher.update(&number.to_le_bytes());
        for Trajectory { user, steps, end } in &self.trajectories {
            let end = Termination::ALL.iter().position(|other| other == end).unwrap_or(Termination::ALL.len());
            [*user, end as u32, steps.len() as u32].into_iter().for_each(&mut tell);
            for Step { item, reward, candidates, scores, call: _ } in steps {
                [*item, reward.to_bits(), candidates.len() as u32, scores.len() as u32].into_iter().for_each(&mut tell);
                candidates.iter().copied().chain(scores.iter().map(|score| score.to_bits())).for_each(&mut tell);
            }
        }
        hasher.finalize().to_hex().to_string()
    }
}

impl Demonstrations {
    /// One trajectory, from 0, without keeping the others; `None` where there are fewer.
    ///
    /// # Errors
    /// When the file is not one of demonstrations, or is damaged.
    pub fn one(path: &Path, index: usize) -> Result<Option<Trajectory>> {
        let wanted = |batch: &RecordBatch| {
            let trajectory = frame::column::<UInt32Array>(batch, "trajectory")?;
            Ok(trajectory.values().iter().map(|&found| Some(found as usize == index)).collect())
        };
        let batch = frame::read_arrow_where(path, Self::KIND, Self::FORMAT, wanted)?;
        let mut found = Self::default();
        found.push(&batch, index)?;
        Ok(found.trajectories.pop())
    }

    /// Adds the trajectories of a batch, the first of which has this number.
    fn push(&mut self, batch: &RecordBatch, first: usize) -> Result<()> {
        let ids = |name| frame::column::<UInt32Array>(batch, name);
        let (trajectory, user, step, item) = (ids("trajectory")?, ids("user")?, ids("step")?, ids("item")?);
        let reward = frame::column::<Float32Array>(batch, "reward")?;
        let (end, call) = (frame::column::<StringArray>(batch, "end")?, frame::column::<StringArray>(batch, "call")?);
        let candidates = frame::column::<ListArray>(batch, "candidates")?;
        let scores = frame::column::<ListArray>(batch, "scores")?;
        if batch.schema().column_with_name(SEARCHED_IN).is_some() && batch.num_rows() > 0 {
            let searched = frame::column::<StringArray>(batch, SEARCHED_IN)?;
            self.searched_in =
                serde_json::from_str(searched.value(0)).context("where it was searched cannot be read")?;
        }
        for row in 0..batch.num_rows() {
            let (t, s) = (trajectory.value(row) as usize, step.value(row) as usize);
            if s == 0 {
                ensure!(t == first + self.trajectories.len(), "row {row} opens trajectory {t} out of order");
                let end = Termination::from_name(end.value(row)).with_context(|| format!("row {row}"))?;
                self.trajectories.push(Trajectory { user: user.value(row), steps: Vec::new(), end });
            }
            let last = self.trajectories.last_mut().context("the first row does not open a trajectory")?;
            ensure!(s == last.steps.len(), "row {row} is step {s}, wanted step {}", last.steps.len());
            let list = candidates.value(row);
            let list = list.as_any().downcast_ref::<UInt32Array>().context("candidates are not u32")?;
            let marks = scores.value(row);
            let marks = marks.as_any().downcast_ref::<Float32Array>().context("scores are not f32")?;
            last.steps.push(Step {
                item: item.value(row),
                reward: reward.value(row),
                candidates: list.values().to_vec(),
                scores: marks.values().to_vec(),
                call: call.value(row).to_owned(),
            });
        }
        Ok(())
    }
}

impl Artifact for Demonstrations {
    const KIND: &'static str = "demonstrations";
    const EXTENSION: &'static str = "arrow";
    /// 2: with the spaces of ids that its row numbers belong to.
    const FORMAT: u32 = 2;
    const NUMBERED: bool = true;

    fn write(&self, path: &Path) -> Result<()> {
        self.write_within(path, &IdSpaces::default())
    }

    fn id_spaces_of(path: &Path) -> Result<IdSpaces> {
        frame::arrow_id_spaces(path, Self::KIND, Self::FORMAT)
    }

    fn write_within(&self, path: &Path, spaces: &IdSpaces) -> Result<()> {
        let (mut candidates, mut scores) =
            (ListBuilder::new(UInt32Builder::new()), ListBuilder::new(Float32Builder::new()));
        for (_, _, step) in self.steps() {
            candidates.values().append_slice(&step.candidates);
            candidates.append(true);
            scores.values().append_slice(&step.scores);
            scores.append(true);
        }
        let of = |t: usize| &self.trajectories[t];
        let searched = (!self.searched_in.is_empty()).then(|| serde_json::to_string(&self.searched_in)).transpose()?;
        let mut columns: Vec<(&str, Arc<dyn Array>)> = vec![
            ("trajectory", Arc::new(UInt32Array::from_iter_values(self.steps().map(|(t, _, _)| t as u32)))),
            ("user", Arc::new(UInt32Array::from_iter_values(self.steps().map(|(t, _, _)| of(t).user)))),
            ("step", Arc::new(UInt32Array::from_iter_values(self.steps().map(|(_, s, _)| s as u32)))),
            ("item", Arc::new(UInt32Array::from_iter_values(self.steps().map(|(_, _, c)| c.item)))),
            ("reward", Arc::new(Float32Array::from_iter_values(self.steps().map(|(_, _, c)| c.reward)))),
            ("end", Arc::new(StringArray::from_iter_values(self.steps().map(|(t, _, _)| of(t).end.name())))),
            ("candidates", Arc::new(candidates.finish())),
            ("scores", Arc::new(scores.finish())),
            ("call", Arc::new(StringArray::from_iter_values(self.steps().map(|(_, _, c)| &c.call)))),
        ];
        // Only where there is something to say: other files stay as they were.
        if let Some(searched) = searched {
            columns.push((SEARCHED_IN, Arc::new(StringArray::from_iter_values(self.steps().map(|_| &searched)))));
        }
        frame::write_arrow(path, &frame::batch_within(Self::KIND, Self::FORMAT, spaces, columns)?)
    }

    fn read(path: &Path) -> Result<Self> {
        let batch = frame::read_arrow(path, Self::KIND, Self::FORMAT)?;
        let mut demonstrations = Self::default();
        demonstrations.push(&batch, 0)?;
        Ok(demonstrations)
    }
}

/// One answer of a language model.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// BLAKE3 of the model's identity and the canonical request.
    pub key: String,
    /// The model's identity.
    pub model: String,
    /// The request as sent, readable.
    pub request: String,
    /// The answer as received, before any parsing; of a failed call, the beginning of what came in its place.
    pub answer: String,
    /// How it failed, where it did.
    pub failure: Option<Failure>,
}

/// How a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The server's status, where one came.
    pub status: Option<u16>,
    /// What happened, in a sentence.
    pub reason: String,
}

impl Call {
    /// The answer, or how there came to be none.
    #[must_use]
    pub fn told(&self) -> String {
        self.failure.as_ref().map_or_else(|| self.answer.clone(), |failure| format!("failed: {}", failure.reason))
    }
}

/// Arrow IPC, one row a call, in the order of use: `key`, `model`, `request`, `answer`, all utf8; `failure: utf8`, the reason of a
/// failed call and null of an answered one; `status: u32`, the server's where a failed call has one, else null.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calls(pub Vec<Call>);

impl Artifact for Calls {
    const KIND: &'static str = "calls";
    const EXTENSION: &'static str = "arrow";
    /// 2: failed calls are rows, too.
    const FORMAT: u32 = 2;

    fn write(&self, path: &Path) -> Result<()> {
        let failures = || self.0.iter().map(|call| call.failure.as_ref());
        let text = |pick: fn(&Call) -> &String| Arc::new(StringArray::from_iter_values(self.0.iter().map(pick)));
        let columns: Vec<(&str, arrow::array::ArrayRef)> = vec![
            ("key", text(|c| &c.key)),
            ("model", text(|c| &c.model)),
            ("request", text(|c| &c.request)),
            ("answer", text(|c| &c.answer)),
            ("failure", Arc::new(StringArray::from_iter(failures().map(|f| Some(&f?.reason))))),
            ("status", Arc::new(UInt32Array::from_iter(failures().map(|f| f?.status.map(u32::from))))),
        ];
        frame::write_arrow(path, &frame::batch(Self::KIND, Self::FORMAT, columns)?)
    }

    fn read(path: &Path) -> Result<Self> {
        let batch = frame::read_arrow(path, Self::KIND, Self::FORMAT)?;
        Self::of(&batch)
    }
}

impl Calls {
    /// The calls with one of these keys, without keeping the others.
    ///
    /// # Errors
    /// When the file is not one of calls, or is damaged.
    pub fn with_keys(path: &Path, keys: &BTreeSet<&str>) -> Result<Self> {
        let wanted = |batch: &RecordBatch| {
            let key = frame::column::<StringArray>(batch, "key")?;
            Ok(key.iter().map(|key| key.map(|key| keys.contains(key))).collect())
        };
        Self::of(&frame::read_arrow_where(path, Self::KIND, Self::FORMAT, wanted)?)
    }

    /// The calls at these places, from 0, as many of them as there are, without keeping the others.
    ///
    /// # Errors
    /// When the file is not one of calls, or is damaged.
    pub fn rows(path: &Path, rows: Range<usize>) -> Result<Self> {
        let passed = Cell::new(0);
        let wanted = |batch: &RecordBatch| {
            let first = passed.replace(passed.get() + batch.num_rows());
            Ok((0..batch.num_rows()).map(|row| Some(rows.contains(&(first + row)))).collect())
        };
        Self::of(&frame::read_arrow_where(path, Self::KIND, Self::FORMAT, wanted)?)
    }

    fn of(batch: &RecordBatch) -> Result<Self> {
        let text = |name| frame::column::<StringArray>(batch, name);
        let (key, model, request, answer) = (text("key")?, text("model")?, text("request")?, text("answer")?);
        let reason = frame::nullable::<StringArray>(batch, "failure")?;
        let status = frame::nullable::<UInt32Array>(batch, "status")?;
        let failure = |row| Failure {
            status: status.is_valid(row).then(|| status.value(row) as u16),
            reason: reason.value(row).to_owned(),
        };
        let call = |row| Call {
            key: key.value(row).to_owned(),
            model: model.value(row).to_owned(),
            request: request.value(row).to_owned(),
            answer: answer.value(row).to_owned(),
            failure: reason.is_valid(row).then(|| failure(row)),
        };
        Ok(Self((0..key.len()).map(call).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_tells_apart_what_is_learned_from_and_nothing_else() {
        let step = |item, reward| Step { item, reward, candidates: vec![1, 2], scores: vec![], call: "a".to_owned() };
        let first = Trajectory { user: 3, steps: vec![step(1, 2.0), step(2, 1.0)], end: Termination::Horizon };
        let one = Demonstrations::new(vec![first]);
        let changed = |change: fn(&mut Trajectory)| {
            let mut other = one.clone();
            change(&mut other.trajectories[0]);
            other.digest()
        };
        assert_eq!(changed(|t| t.steps[0].call = "b".to_owned()), one.digest());
        let others = [
            changed(|t| t.user = 4),
            changed(|t| t.end = Termination::Stopped),
            changed(|t| t.steps.swap(0, 1)),
            changed(|t| t.steps[1].item = 1),
            changed(|t| t.steps[0].reward = 2.5),
            changed(|t| t.steps[0].candidates.truncate(1)),
            changed(|t| t.steps[1].scores = vec![0.5, 0.5]),
            changed(|t| t.steps.truncate(1)),
            Demonstrations::new([&one.trajectories[..], &one.trajectories[..]].concat()).digest(),
            one.digest(),
        ];
        assert_eq!(BTreeSet::from(others).len(), 10);
    }

    #[test]
    fn where_it_was_searched_stands_in_the_file_and_only_then() {
        let step =
            Step { item: 1, reward: 2.0, candidates: vec![1], scores: vec![f32::NEG_INFINITY], call: String::new() };
        let plain = Demonstrations::new(vec![Trajectory { user: 0, steps: vec![step], end: Termination::Stopped }]);
        let world = crate::env::cluster_world(&[1.0, 2.0], 1, 1, 3, 1);
        let searched = plain.clone().searched("demonstrate.search", &world).searched("demonstrate.search", &world);
        assert_eq!(searched.searched_worlds(), [world.rewards_digest()]);
        let folder = tempfile::tempdir().unwrap();
        let columns = |name: &str, demonstrations: &Demonstrations| {
            let path = folder.path().join(name);
            demonstrations.write(&path).unwrap();
            assert_eq!(Demonstrations::read(&path).unwrap(), *demonstrations);
            assert_eq!(Demonstrations::one(&path, 0).unwrap().as_ref(), demonstrations.trajectories.first());
            frame::read_arrow(&path, Demonstrations::KIND, Demonstrations::FORMAT).unwrap().num_columns()
        };
        assert_eq!((columns("plain", &plain), columns("searched", &searched)), (9, 10));
    }

    #[test]
    fn failed_calls_come_back_as_they_were() {
        let failed = |status| Some(Failure { status, reason: "it said no".into() });
        let call = |key: &str, failure| Call {
            key: key.into(),
            model: "m".into(),
            request: "{}".into(),
            answer: "raw".into(),
            failure,
        };
        let calls = Calls(vec![call("a", None), call("b", failed(Some(400))), call("c", failed(None))]);
        let folder = tempfile::tempdir().unwrap();
        let several = [calls.clone(), Calls(vec![calls.0[0].clone()]), Calls::default()];
        for (number, calls) in several.into_iter().enumerate() {
            let path = folder.path().join(number.to_string());
            calls.write(&path).unwrap();
            assert_eq!(Calls::read(&path).unwrap(), calls);
        }
        let told: Vec<String> = calls.0.iter().map(Call::told).collect();
        assert_eq!(told, ["raw", "failed: it said no", "failed: it said no"]);
    }
}
