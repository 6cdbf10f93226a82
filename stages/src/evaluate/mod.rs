//! `evaluate`: every policy in a world that none of them learned from, beside the rows that keep the table honest.
//!
//! Each user plays one episode for each training seed (each repetition of a control that draws). The rows: random, random
//! and popular among the items that do not conflict, a cycle of popular items, the greedy oracle, the best plan there is with a
//! bound that nobody exceeds, the retriever alone, a learner that is only paid to stay, copying alone, each language model
//! itself, the plans of fitted worlds, then the policies. The controls are always there: a table without them can make anything look good; what could not be made is listed as missing.
//!
//! The judge and what policies learned from are never the same: the engine refuses an experiment in which a policy descends
//! from the judging world (its item distances excepted), and this stage a policy whose training world had the judge's rewards.
//!
//! The last network of a training is judged, or one chosen by `validation`, never the best one by the judge: where a sweep made
//! several checkpoints of each training, `checkpoint` chooses among them by that world. A mean over the last few checkpoints is
//! left out.

mod aggregates;
mod bootstrap;
mod eval_users;
mod importance_sampling;
mod latency;
mod leakage;
#[cfg(test)]
mod leakage_tests;
mod model_selection;
mod offpolicy;
mod pairwise;
mod planning;
mod results;
mod table;
mod table_rows;
mod teacher_replay;
mod teachers;
#[cfg(test)]
mod teachers_tests;
#[cfg(test)]
mod tests;
mod trained_baselines;
mod value_based;

use anyhow::{Result, ensure};
use pipeline::{Context, ForbiddenSource, Many, NoLeakage, Requirement, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::{
    Candidates, Comparisons, Demonstrations, Interactions, LlmUsage, Metrics, PolicyFile, Profiles, Rollouts, Steps,
    World,
};
use crate::env::USUAL_PRIOR;
use bootstrap::Bootstrap;
pub use bootstrap::Resampling;
use leakage::LeakageAudit;
pub use offpolicy::OffPolicy;
use results::{Measures, Row};
use table_rows::Evaluator;
pub use trained_baselines::Baselines;

/// `evaluate`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Evaluate {
    /// Seed of everything that is drawn: the random controls, sampled actions and the bootstrap.
    pub episodes_seed: u64,
    /// How often each control that draws plays with every user, from 1; 5 by default.
    pub repetitions: usize,
    /// How policies act.
    pub act: ActionSelection,
    /// Judges each policy a second time, in a row of its own, as `recommend --exclude-history` serves it: nothing that was shown in
    /// an episode is shown again. Where the world masks repeats, that is the first row already. Off by default.
    pub exclude_history: bool,
    /// What is popular is what is rated best on average, where each item is given so many ratings at the log's mean beside its
    /// own; 0 is the plain mean, under which one lucky rating makes an item popular.
    pub popularity_prior: f64,
    /// The popular cycle shows the items with most ratings of at least this, on the log's scale; 4 by default. Where no rating is
    /// as high, it counts all.
    pub liked: f64,
    /// The controls that are trained here.
    pub controls: Baselines,
    /// Whether the judge may be what the policies learned from.
    pub judge: LeakageCheck,
    /// The swept field whose values are checkpoints of one training (`iterations`): of each training the one with the highest
    /// return in the world at `validation` is judged. Without it every policy is.
    pub checkpoint: Option<String>,
    /// Resamples behind each interval, from 100; 2000 by default.
    pub bootstrap: usize,
    /// What is drawn again in a resample.
    pub resampling: Resampling,
    /// Plays with the first so many of the judged users only; with all when absent.
    pub users: Option<usize>,
}

/// How a policy's distribution becomes an action.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActionSelection {
    /// The most likely item, as when serving.
    #[default]
    Greedy,
    /// An item drawn from the distribution, as when learning. `evaluate` refuses learners of values (`rl.dqn`, `rl.cql`), which
    /// have none; `evaluate.offpolicy` takes their best item.
    Sample,
}

/// Whether the judge may be what the policies learned from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LeakageCheck {
    /// Never: such an experiment is refused.
    #[default]
    Apart,
    /// For asking how much of a result is learning and how much the error of the world model. All rows that learned are
    /// labelled as privileged, for nothing keeps what they learned from apart. A validation world is apart even so.
    SameAsTraining,
}

impl Default for Evaluate {
    fn default() -> Self {
        Self {
            episodes_seed: 0,
            repetitions: 5,
            act: ActionSelection::Greedy,
            exclude_history: false,
            popularity_prior: USUAL_PRIOR,
            liked: 4.0,
            controls: Baselines::default(),
            judge: LeakageCheck::Apart,
            checkpoint: None,
            bootstrap: 2000,
            resampling: Resampling::Crossed,
            users: None,
        }
    }
}

pipeline::ports! {
    /// Who is judged, where.
    pub struct Inputs {
        /// The judging world; another family than the one the policies learned in.
        world: World,
        /// What policies could learn from; tells what is popular.
        train: Interactions,
        /// The retriever, for its own row.
        candidates: Option<Candidates>,
        /// Who is judged; policies of one name are the training seeds of one row.
        policies: Many<PolicyFile>,
        /// What language models played in the judging world; each has its own row.
        teacher: Many<Demonstrations>,
        /// What they were asked for that, from the same stages by the same names: calls and tokens an episode.
        efforts: Many<LlmUsage>,
        /// The world that the policies learned in: what it would have paid stands beside what the judge pays, and the controls
        /// that learn do so in it.
        training: Option<World>,
        /// Fitted worlds whose best plans are judged, each in a row of its own: what they are worth to one who plans perfectly and
        /// learns nothing. Worlds of one name are the seeds of one row.
        planned: Many<World>,
        /// The demonstrations that the policies learned from; copied for a row where no policy is a mere copy.
        demonstrations: Option<Demonstrations>,
        /// Chooses among checkpoints.
        validation: Option<World>,
        /// Only users with a row here are judged, in every row of the table; all without.
        people: Option<Interactions>,
    }
}

pipeline::ports! {
    /// What was measured.
    pub struct Outputs {
        /// The table.
        metrics: Metrics,
        /// Every episode behind it.
        rollouts: Rollouts,
        /// Every step of every episode.
        steps: Steps,
        /// Each learned row against each other row.
        comparisons: Comparisons,
        /// How often each row returns at least how much.
        profiles: Profiles,
    }
}

impl Stage for Evaluate {
    const KIND: &'static str = "evaluate";
    /// 1: first. 2: the remarks say where the retriever and the teacher know the distances. 3: more measures, controls,
    /// comparisons and profiles; the seeds of two rows are drawn apart; episodes keep whole sums and steps. 4: where a teacher's
    /// recording ran out of items, that user is compared over as many turns; the popular cycle shows no item twice where
    /// repeats are masked. 5: where every item conflicts the oracle takes the best and random draws; what conflicts knows of
    /// spared turns; privilege goes by whose the distances are; `gap` only of policies that learned at `training`.
    /// 6: policies of values that are to draw are refused. 7: several teachers, and what they were asked; the controls'
    /// training is fused, so sums round otherwise. 8: the best plan and its bound; plans of fitted worlds; the gradients of the
    /// controls that are trained are summed in parts, for threads. 9: policies that were never trained are said to be; in
    /// a log of one rating popular is what was rated most often, and where no rating is liked the popular cycle counts all.
    const VERSION: u32 = 9;
    const ABOUT: &'static str = "judge policies in a world they did not learn from, beside honest controls";
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn check(&self) -> Result<(), (String, String)> {
        let wrong = |path: &str, message: &str| Err((path.to_owned(), message.to_owned()));
        if self.repetitions == 0 {
            return wrong("repetitions", "a control plays at least once");
        }
        if self.bootstrap < 100 {
            return wrong("bootstrap", "the ends of a 95 % interval need at least 100 resamples");
        }
        if !(self.popularity_prior >= 0.0 && self.popularity_prior.is_finite()) {
            return wrong("popularity_prior", "0 or more ratings");
        }
        if !self.liked.is_finite() {
            return wrong("liked", "a finite rating");
        }
        if self.users == Some(0) {
            return wrong("users", "at least one user plays; leave it out to play with all");
        }
        self.controls.check().map_err(|(path, message)| (format!("controls.{path}"), message))
    }

    fn no_leakage(&self) -> Vec<NoLeakage> {
        let rule = |from| NoLeakage {
            port: "world",
            from,
            // A world at `truth` is for irl's picture: nothing is learned from it.
            except: &["distances", "truth"],
            drawn_from: None,
            why: "the judge must not be what policies learned from",
            help: "judge in a world of another family that no policy learned from, or say `judge: same_as_training` under \
                   `with`: the rows are then labelled as privileged",
        };
        let mut kept: Vec<NoLeakage> = match self.judge {
            LeakageCheck::Apart => ["policies", "training", "planned", "demonstrations"].map(rule).into(),
            LeakageCheck::SameAsTraining => Vec::new(),
        };
        kept.push(NoLeakage {
            why: "what the judge chose looks better in it than elsewhere",
            help: "choose checkpoints in a world that is neither the judge nor made with it",
            ..rule("validation")
        });
        kept
    }

    fn forbidden_sources(&self) -> Vec<ForbiddenSource> {
        let world = ForbiddenSource {
            port: "world",
            made_by: "world.pessimistic",
            why: "its rewards are lowered where its models are unsure, so what it pays is no rating of anybody",
            help: "judge in the world that it was made from, if no policy learned there, or in one of another family; worlds made \
                   to learn in belong at `training`",
        };
        vec![world]
    }

    fn requirements(&self) -> Vec<Requirement> {
        let requirement = self.checkpoint.as_ref().map(|_| Requirement {
            setting: "checkpoint",
            port: "validation",
            connected: true,
            why: "checkpoints are chosen in a world that is not the judge".to_owned(),
            help: "connect such a world, or sweep no checkpoints",
        });
        requirement.into_iter().collect()
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let world = &inputs.world;
        let people = inputs.people.as_ref();
        let all = eval_users::evaluated_users(world, people)?;
        let users = &all[..all.len().min(self.users.unwrap_or(usize::MAX))];
        ensure!(!users.is_empty() && world.items() > 0, "the world has nobody or nothing to play with");
        let origins = LeakageAudit::new(self.judge, world, inputs.training.as_ref());
        origins.refuse(&inputs)?;
        if self.act == ActionSelection::Sample {
            value_based::refuse(&inputs.policies)?;
        }
        let people = people.map(|_| &all[..]);
        let teachers = teachers::teachers(world, &inputs.teacher, &inputs.efforts, users, people)?;
        let popularity = table_rows::popular(&inputs.train, world, self)?;
        let players = Evaluator {
            config: self,
            world,
            users,
            inputs: &inputs,
            popularity,
            teachers: &teachers,
            measures: Measures::new(inputs.training.as_ref(), &inputs.train, world.items()),
            origins,
        };
        let (rows, missing) = players.play(cx)?;
        cx.note(
            "episodes",
            rows.iter().flat_map(|row| &row.seed_results).map(|cell| cell.episodes.len()).sum::<usize>(),
        );
        cx.check_cancelled()?;
        for teacher in teachers.iter().filter(|teacher| !teacher.teacher_coverage.judged) {
            cx.note(&teacher.row, "played with users beyond `users`, so no row is compared on the same users");
        }
        let bootstrap = Bootstrap { seed: self.episodes_seed, resamples: self.bootstrap, resampling: self.resampling };
        // Each row is resampled twice: for the table and for its profile. Each learned one once more, against all others.
        let learned = rows.iter().filter(|row| !row.control).count();
        let bar = cx.bar("intervals", Some((2 * rows.len() + learned) as u64), "rows");
        let mut metrics = table::table(&rows, &bootstrap, &bar);
        metrics.0.extend(missing);
        cx.check_cancelled()?;
        Ok(Outputs {
            metrics,
            comparisons: pairwise::comparisons(&rows, &bootstrap, &bar),
            profiles: pairwise::profiles(&rows, &bootstrap, &bar),
            rollouts: Rollouts(rows.iter().flat_map(Row::rollouts).collect()),
            steps: Steps(rows.iter().flat_map(Row::steps).collect()),
        })
    }
}
