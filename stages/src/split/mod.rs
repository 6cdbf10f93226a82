//! Splits a log into a training part and a held-out test part.
//!
//! Users and items keep their numbers, so the tables beside the log stay as they are. Left out: a validation part (cut `train`
//! once more), k-cores and samples (stages of their own, `filter.kcore` and `filter.sample`).

mod held_out;
mod ports;
mod predefined;
mod ties;

use anyhow::{Context as _, Result, ensure};
use pipeline::{Context, Requirement, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use ports::{Inputs, Outputs};
use ties::TiedCuts;
pub use ties::Ties;

/// `split`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Split {
    /// How the log is split.
    pub by: By,
    /// The fraction that is held out, in (0, 1): of each user's interactions (`time`, `random`), of the whole log (`global_time`,
    /// `global_random`), of the users (`user`) or of the items (`item`). Each side gets at least one if there are two or more. The
    /// other rules do not use it. With `by: global_random`, 0.5 gives disjoint halves: for the reverse roles connect `train` and
    /// `test` the other way round.
    pub test_fraction: f64,
    /// Seed of the draws of `random`, `global_random`, `user`, `item` and `ties: random`.
    pub seed: u64,
    /// The order of a user's interactions of equal time, where `by` is `time` or `leave_n_out`.
    pub ties: Ties,
}

/// How a log is split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// Each user's last interactions are held out.
    #[default]
    Time,
    /// Interactions of each user are held out at random: for logs without times, such as Coat's, where the last rows are those
    /// of the last items.
    Random,
    /// The last interactions of the whole log are held out. All interactions at the time of the split are held out: every
    /// training interaction is earlier than every test interaction.
    GlobalTime,
    /// Interactions of the whole log are held out at random, each with the same probability: a user may keep none in one part.
    /// The draw does not depend on the order of the rows.
    GlobalRandom,
    /// Whole users are held out, drawn by `seed`.
    User,
    /// Whole items are held out, drawn by `seed`: nobody has rated them in the training part (the cold shelf).
    Item,
    /// The last n interactions of each user are held out, n at least 1; each user keeps at least one training interaction.
    LeaveNOut(usize),
    /// The test part is the input `test`, as the benchmark defines it. Rows of the log that are in it (the same user, item and
    /// time) are removed from the training part.
    Predefined,
}

impl Default for Split {
    fn default() -> Self {
        Self { by: By::Time, test_fraction: 0.2, seed: 0, ties: Ties::FileOrder }
    }
}

impl Stage for Split {
    const KIND: &'static str = "split";
    /// 1: first.
    const VERSION: u32 = 1;
    const ABOUT: &'static str =
        "split a log into train and test: by time, at random, by user, by item, the last n, or predefined";
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn check(&self) -> Result<(), (String, String)> {
        if !(self.test_fraction > 0.0 && self.test_fraction < 1.0) {
            return Err(("test_fraction".into(), "the held-out fraction lies between 0 and 1, both excluded".into()));
        }
        if self.by == By::LeaveNOut(0) {
            return Err(("by.leave_n_out".into(), "at least 1 interaction of each user is held out".into()));
        }
        if self.ties != Ties::FileOrder && !self.cuts_users_by_time() {
            let wanted =
                "`random` is for `by: time` and `by: leave_n_out`, which cut a user's interactions by their order";
            return Err(("ties".into(), wanted.into()));
        }
        Ok(())
    }

    fn requirements(&self) -> Vec<Requirement> {
        let given = self.by == By::Predefined;
        let (why, help) = match given {
            true => ("with `predefined` the test part is an input", "connect the benchmark's test part"),
            false => {
                ("the other rules take the test part from the log", "set `by: predefined`, or leave the input out")
            }
        };
        vec![Requirement { setting: "by", port: "test", connected: given, why: why.to_owned(), help }]
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let log = &inputs.interactions;
        ensure!(!log.is_empty(), "the log is empty");
        let rows_of = self.ties.by_user(log, self.seed);
        if self.by != By::Predefined {
            ensure!(
                inputs.test.is_none(),
                "the input `test` is used only where `by` is `predefined`\nhelp: set `by: predefined`, or leave the input out"
            );
        }
        if self.by == By::Predefined {
            let test = inputs.test.as_ref();
            let test =
                test.context("`by: predefined` wants the input `test`\nhelp: connect the benchmark's test part")?;
            return predefined::parts(log, &rows_of, test, cx);
        }
        let held = self.held_out(log, &rows_of)?;
        if self.cuts_users_by_time() {
            TiedCuts::count(log, &rows_of, &held).report(self.ties, cx);
        }
        let (test, train): (Vec<usize>, Vec<usize>) = rows_of.into_iter().flatten().partition(|&row| held[row]);
        let empty = if test.is_empty() { ": the test part is empty, so nothing can be evaluated on it" } else { "" };
        cx.note("cut", format!("{} train, {} test{empty}", train.len(), test.len()));
        Ok(Outputs { train: log.take(&train), test: log.take(&test) })
    }
}

impl Split {
    /// Whether the order of a user's interactions decides which are held out.
    fn cuts_users_by_time(&self) -> bool {
        matches!(self.by, By::Time | By::LeaveNOut(_))
    }
}

#[cfg(test)]
mod tests;
