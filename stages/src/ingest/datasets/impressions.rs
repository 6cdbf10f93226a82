//! A log of shown items with the probability of each: what `apprentice serve --log` writes, and other logs of bandits in Parquet.
//!
//! Users and items are those of the log that the policies learned from, by their ids. The rewards are a column, or come from a table of
//! feedback that names the answer and the item. One row of the output is the item at one position of an answer.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use arrow::array::RecordBatch;
use pipeline::{AssetName, Context, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::{Interactions, Items, LoggedPropensities, Users, check_asset_path};
use crate::ingest::datasets::parquet_log::{IdColumn, NumberColumn, Place, TimeColumn};
use crate::ingest::readers::bad_rows::{Fault, OnBadRow};
use crate::ingest::readers::casts;
use crate::ingest::readers::parquet_parts::for_each_batch;
use crate::ingest::readers::record::{number, text};
use crate::ingest::readers::sampled_times::sampled_times;
use crate::ingest::readers::shard::{KnownIds, LogBuilder, Numbering, ReadLog, Row, Shard};
use crate::ingest::readers::side_table::{Quotes, SideTable, file_of};
use crate::ingest::readers::time_form::TimeForm;
use crate::ingest::readers::time_unit::Unit;

/// `ingest.impressions`. The names of the columns are by default those of `apprentice serve --log`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Impressions {
    /// The folder with the part files, or one Parquet file.
    pub asset: AssetName,
    /// A file or folder in the asset's folder; the asset itself when absent.
    #[serde(default)]
    pub file: Option<String>,
    /// The column of user ids. Rows of users that `users` lacks, and of nobody, are left out and counted.
    #[serde(default = "user")]
    pub user: String,
    /// The column of item ids.
    #[serde(default = "item")]
    pub item: String,
    /// The column of times, of a type with times or of numbers since 1970.
    #[serde(default = "time")]
    pub timestamp: String,
    /// The column of the probability with which the item was shown. `propensity` of the service counts in which policy a user belongs to,
    /// `policy_propensity` is that of the policy that answered.
    #[serde(default = "propensity")]
    pub propensity: String,
    /// The column of the item's place in its answer, from 1; null where an answer is one item.
    #[serde(default = "position")]
    pub position: Option<String>,
    /// The place whose items are read.
    #[serde(default = "first")]
    pub at_position: u32,
    /// The column of rewards, where the log has one.
    #[serde(default)]
    pub reward: Option<String>,
    /// The table of what came back. Items without a row in it have a reward of 0.
    #[serde(default)]
    pub feedback: Option<Feedback>,
    /// Treatment of invalid rows.
    #[serde(default)]
    pub on_bad_row: OnBadRow,
}

/// A table of feedback: CSV, TSV, JSON records, Parquet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Feedback {
    /// Another asset that holds the file, or is the file.
    #[serde(default)]
    pub asset: Option<AssetName>,
    /// The file in the asset's folder.
    pub file: String,
    /// The column of the answer's id, `answer_id` of the service's answers.
    #[serde(default = "answer_id")]
    pub answer: String,
    /// The column of item ids.
    #[serde(default = "item")]
    pub item: String,
    /// The column of rewards; of several rows for one item of an answer the largest counts. When absent, each row is a reward of 1.
    #[serde(default)]
    pub reward: Option<String>,
}

fn answer_id() -> String {
    "answer_id".to_owned()
}

fn user() -> String {
    "user".to_owned()
}

fn item() -> String {
    "item".to_owned()
}

fn time() -> String {
    "time".to_owned()
}

fn propensity() -> String {
    "propensity".to_owned()
}

fn position() -> Option<String> {
    Some("position".to_owned())
}

fn first() -> u32 {
    1
}

pipeline::ports! {
    /// Whom and what the ids stand for.
    pub struct Inputs {
        /// The catalogue of the log that the policies learned from.
        items: Items,
        /// The users of that log.
        users: Users,
    }
}

pipeline::ports! {
    /// What was shown.
    pub struct Outputs {
        /// One row an item shown, with its reward.
        interactions: Interactions,
        /// The probability of each row.
        propensities: LoggedPropensities,
    }
}

impl Stage for Impressions {
    const KIND: &'static str = "ingest.impressions";
    /// 1: first.
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "read what a service showed, with the probability of each item, and the feedback";
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn assets(&self) -> Vec<AssetName> {
        let other = self.feedback.as_ref().and_then(|feedback| feedback.asset.clone());
        std::iter::once(self.asset.clone()).chain(other).collect()
    }

    fn check(&self) -> Result<(), (String, String)> {
        if self.reward.is_some() == self.feedback.is_some() {
            return Err(("reward".into(), "either a column of rewards, or `feedback`".into()));
        }
        if self.at_position == 0 {
            return Err(("at_position".into(), "a place from 1".into()));
        }
        check_asset_path(self.file.as_deref(), "file")?;
        check_asset_path(self.feedback.as_ref().map(|feedback| &*feedback.file), "feedback.file")
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let asset = cx.asset(&self.asset)?;
        let path = self.file.as_ref().map_or_else(|| Ok(asset.to_path_buf()), |file| file_of(asset, file))?;
        let mut feedback = self.feedback.as_ref().map(|feedback| self.read_feedback(feedback, cx)).transpose()?;
        let times = sampled_times(&path, &self.timestamp)?;
        let mut shown = Shown { feedback: feedback.as_mut(), ..Shown::default() };
        let columns = [&*self.user, &*self.item];
        let ids = KnownIds::new(columns, [Some(&inputs.users.id), Some(&inputs.items.id)]);
        self.read(&path, &times, &ids, &mut shown, cx)?;
        let mut log = shown.log();
        let Shown { propensity, strangers, .. } = shown;
        if strangers > 0 {
            cx.note("left out", format!("{strangers} rows of users that `users` lacks, or of nobody"));
        }
        log.finish_in(Unit::Seconds, None, &path, self.on_bad_row, cx)?;
        let log = log.interactions;
        if let Some(feedback) = &feedback {
            feedback.note(&path, cx)?;
        }
        let mean = log.rating.iter().map(|&reward| f64::from(reward)).sum::<f64>() / log.len() as f64;
        cx.note("read", format!("{} items shown, with a mean reward of {mean:.4}", log.len()));
        Ok(Outputs { propensities: LoggedPropensities::new(&log, &propensity)?, interactions: log })
    }
}

/// The log while it is read.
#[derive(Default)]
struct Shown<'a> {
    shard: Shard,
    numbering: Numbering,
    /// Of each row that was taken.
    propensity: Vec<f64>,
    /// Rows of users that are not known, or of nobody.
    strangers: u64,
    feedback: Option<&'a mut FeedbackTable>,
}

impl Impressions {
    /// The rewards in the table of feedback.
    fn read_feedback(&self, columns: &Feedback, cx: &Context) -> Result<FeedbackTable> {
        let path = file_of(cx.asset(columns.asset.as_ref().unwrap_or(&self.asset))?, &columns.file)?;
        let table = SideTable::read(&path, None, None, Quotes::ByEnding, self.on_bad_row, cx)?;
        let Feedback { answer, item, reward, .. } = columns;
        for column in [Some(answer), Some(item), reward.as_ref()].into_iter().flatten() {
            table.require_column(column)?;
        }
        let mut found = FeedbackTable { path: table.path.clone(), rewards: HashMap::new() };
        table.for_each(self.on_bad_row, cx, |record| {
            let value = reward.as_ref().map_or(Ok(1.0), |name| casts::rating(number(record, name)?, name))?;
            let key = (text(record, answer)?, text(record, item)?);
            let known = found.rewards.entry(key).or_insert(Returned { reward: value, shown: false });
            known.reward = known.reward.max(value);
            Ok(())
        })?;
        Ok(found)
    }

    fn read(
        &self,
        path: &Path,
        times: &TimeForm,
        ids: &KnownIds<'_>,
        into: &mut Shown<'_>,
        cx: &Context,
    ) -> Result<()> {
        let answer = self.feedback.as_ref().map(|feedback| &*feedback.answer);
        let names = [
            Some(&*self.user),
            Some(&*self.item),
            Some(&*self.timestamp),
            Some(&*self.propensity),
            self.position.as_deref(),
            self.reward.as_deref(),
            answer,
        ];
        for_each_batch(path, &names, cx, |batch, file| {
            let columns = Columns::new(self, batch, times, file)?;
            for row in 0..batch.num_rows() {
                into.shard.lines += 1;
                columns.take(row, self, ids, into);
            }
            Ok(())
        })
    }
}

/// The columns of some rows.
struct Columns<'a> {
    user: IdColumn,
    item: IdColumn,
    time: TimeColumn<'a>,
    propensity: NumberColumn,
    position: Option<NumberColumn>,
    reward: Option<NumberColumn>,
    answer: Option<IdColumn>,
}

impl<'a> Columns<'a> {
    fn new(stage: &Impressions, batch: &RecordBatch, times: &'a TimeForm, file: &Path) -> Result<Self> {
        let column = |name: &str| batch.column_by_name(name).expect("columns that are not there are refused").clone();
        let ids = |name: &str| IdColumn::new(&column(name), &Place { file, name });
        let numbers = |name: &str| NumberColumn::new(&column(name), &Place { file, name }, "numbers");
        Ok(Self {
            user: ids(&stage.user)?,
            item: ids(&stage.item)?,
            time: TimeColumn::new(&column(&stage.timestamp), times, &Place { file, name: &stage.timestamp })?,
            propensity: numbers(&stage.propensity)?,
            position: stage.position.as_deref().map(numbers).transpose()?,
            reward: stage.reward.as_deref().map(numbers).transpose()?,
            answer: stage.feedback.as_ref().map(|feedback| ids(&feedback.answer)).transpose()?,
        })
    }

    fn take(&self, row: usize, stage: &Impressions, ids: &KnownIds<'_>, into: &mut Shown<'_>) {
        let Shown { shard, numbering, propensity, strangers, feedback } = into;
        let mut chance = 0.0;
        let mut read = || {
            if let (Some(positions), Some(name)) = (&self.position, &stage.position)
                && positions.number(row, name)? != f64::from(stage.at_position)
            {
                return Ok(None);
            }
            let (user, item) = (self.user.id(row, &stage.user)?, self.item.id(row, &stage.item)?);
            let reward = match (&self.reward, &stage.reward, &self.answer, feedback.as_mut()) {
                (Some(rewards), Some(name), ..) => casts::rating(rewards.number(row, name)?, name)?,
                (.., Some(answers), Some(feedback)) => feedback.reward(answers.id(row, "answer")?, &item),
                _ => 0.0,
            };
            if !ids.knows_user(&user) {
                *strangers += 1;
                return Ok(None);
            }
            chance = self.propensity.number(row, &stage.propensity)?;
            if !(chance > 0.0 && chance <= 1.0) {
                return Err(Fault::value(&stage.propensity, &chance.to_string(), "a probability above 0"));
            }
            let timestamp = self.time.seconds(row, &stage.timestamp)?;
            Ok(Some(Row { user, item, rating: reward, timestamp }))
        };
        if let Some(row) = read().transpose() {
            shard.take(row, ids, numbering);
            if shard.kept() > propensity.len() {
                propensity.push(chance);
            }
        }
    }
}

impl Shown<'_> {
    fn log(&self) -> ReadLog {
        let mut builder = LogBuilder::default();
        builder.push(&self.shard);
        builder.log
    }
}

/// Rewards by answer and item.
struct FeedbackTable {
    path: PathBuf,
    rewards: HashMap<(String, String), Returned>,
}

struct Returned {
    reward: f32,
    /// Whether a row of the log showed it.
    shown: bool,
}

impl FeedbackTable {
    fn reward(&mut self, answer: Cow<'_, str>, item: &str) -> f32 {
        self.rewards.get_mut(&(answer.into_owned(), item.to_owned())).map_or(0.0, |found| {
            found.shown = true;
            found.reward
        })
    }

    /// Says how much of it belongs to the log.
    ///
    /// # Errors
    /// When nothing does.
    fn note(&self, log: &Path, cx: &Context) -> Result<()> {
        let (all, shown) = (self.rewards.len(), self.rewards.values().filter(|found| found.shown).count());
        if let Some(((answer, item), _)) = self.rewards.iter().min_by_key(|(key, _)| *key)
            && shown == 0
        {
            bail!(
                "none of the {all} items in {} was shown at this position in {}, such as item {item:?} of answer {answer:?}\nhelp: name \
                 its columns in `feedback`, or read another position (`at_position`)",
                self.path.display(),
                log.display()
            );
        }
        ensure!(all > 0, "{} holds no feedback\nhelp: name the file with what was clicked", self.path.display());
        cx.note("feedback", format!("{shown} of {all} items with feedback are in the log at this position"));
        Ok(())
    }
}
