//! `evaluate`: every policy in an evaluation world from which none of them learned, beside baselines.
//!
//! Each user plays one episode for each training seed (each repetition of a baseline that draws). The rows: random and random
//! quit-aware, popular quit-aware, a cycle of popular items, the greedy oracle, the planning oracle with an upper bound of the
//! return, retriever top-1, the learned baselines (constant reward, behaviour cloning), each language model, the plans of fitted
//! worlds, and the policies. The baselines are in every table; a baseline that cannot be made is listed as missing.
//!
//! Evaluation world and training data are separate: the engine refuses an experiment in which a policy descends from the
//! evaluation world (its item distances excepted), and this stage refuses a policy whose training world has its rewards.
//!
//! The last network of a training is evaluated, or the checkpoint with the highest return in a validation world, never the best
//! one in the evaluation world: `select_over` names the swept setting whose values are checkpoints of one training. An average of
//! the last checkpoints is left out.

mod aggregates;
mod agreement;
mod bootstrap;
mod crossed_mean;
mod eval_users;
mod evaluation_memory;
mod importance_sampling;
mod latency;
mod leakage;
#[cfg(test)]
mod leakage_tests;
mod model_selection;
mod offpolicy;
mod pairwise;
mod planning;
mod ports;
mod prompts;
mod ranking;
mod results;
#[cfg(test)]
mod row_name_tests;
mod settings;
mod table;
mod table_rows;
mod teacher_replay;
mod teachers;
#[cfg(test)]
mod teachers_tests;
#[cfg(test)]
mod tests;
mod trained_baselines;
mod tuning;
mod value_based;

use anyhow::{Result, ensure};
use pipeline::{Context, ForbiddenSource, MemoryNeed, NoLeakage, Requirement, Sizes, Stage};

use crate::artifact::{Rollouts, RowRole, Steps};
pub use agreement::Agreement;
use bootstrap::Bootstrap;
pub use bootstrap::Resampling;
use leakage::LeakageAudit;
pub use offpolicy::OffPolicy;
use ports::{Inputs, Outputs};
pub use prompts::EvaluatePrompts;
pub use ranking::EvaluateRanking;
use results::{Measures, Row};
pub use settings::{ActionSelection, Evaluate, LeakageCheck};
use table_rows::Evaluator;
pub use trained_baselines::Baselines;

impl Stage for Evaluate {
    const KIND: &'static str = "evaluate";
    /// 1: first. 2: the remarks say where the retriever and the teacher know the distances. 3: more measures, controls,
    /// comparisons and profiles; the seeds of two rows are drawn apart; episodes keep whole sums and steps. 4: where a teacher's
    /// recording ran out of items, that user is compared over as many turns; the popular cycle shows no item twice where
    /// repeats are masked. 5: where every item conflicts the oracle takes the best and random draws; what conflicts knows of
    /// spared turns; privilege goes by whose the distances are; `gap` only of policies that learned at `training_world`.
    /// 6: policies of values that are to draw are refused. 7: several teachers, and what they were asked; the controls'
    /// training is fused, so sums round otherwise. 8: the best plan and its bound; plans of fitted worlds; the gradients of the
    /// controls that are trained are summed in parts, for threads. 9: policies that were never trained are said to be; in
    /// a log of one rating popular is what was rated most often, and where no rating is liked the popular cycle counts all.
    /// 10: rows, metrics and remarks are called by the field's words. 11: t intervals over seeds and users, in place of the
    /// percentile bootstrap's, and p of differences.
    const VERSION: u32 = 12;
    const ABOUT: &'static str = "evaluate policies in a world they did not learn from, beside baselines";
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn check(&self) -> Result<(), (String, String)> {
        let wrong = |path: &str, message: &str| Err((path.to_owned(), message.to_owned()));
        if self.n_repeats == 0 {
            return wrong("n_repeats", "a random baseline plays at least one episode");
        }
        if self.n_resamples < 100 {
            return wrong("n_resamples", "the ends of a 95 % interval need at least 100 resamples");
        }
        if !(self.popularity_prior >= 0.0 && self.popularity_prior.is_finite()) {
            return wrong("popularity_prior", "0 or more ratings");
        }
        if !self.liked_from.is_finite() {
            return wrong("liked_from", "a finite rating");
        }
        if self.users == Some(0) {
            return wrong("users", "at least one user; leave it out to evaluate with all");
        }
        // An old word that the table of renamed words cannot know, because it names a setting of other stages.
        if self.select_over.as_deref() == Some("iterations") {
            return wrong(
                "select_over",
                "`iterations` is now `n_iterations`, or `n_gradient_steps` of an offline learner",
            );
        }
        self.baselines.check().map_err(|(path, message)| (format!("baselines.{path}"), message))
    }

    fn no_leakage(&self) -> Vec<NoLeakage> {
        let rule = |from| NoLeakage {
            port: "world",
            from,
            // A world at `true_world` serves the figure of learned rewards only: nothing is learned from it.
            except: &["distances", "true_world"],
            through: &[],
            drawn_from: None,
            why: "no policy may learn from the evaluation world",
            help: "evaluate in a world of another family from which no policy learned, or set `leakage_check: label`: the rows are then labelled as privileged",
        };
        let mut rules: Vec<NoLeakage> = match self.leakage_check {
            LeakageCheck::Refuse => {
                ["policies", "training_world", "planning_worlds", "demonstrations"].map(rule).into()
            }
            LeakageCheck::Label => Vec::new(),
        };
        if self.leakage_check == LeakageCheck::Refuse {
            rules.push(NoLeakage {
                // A teacher plays in the evaluation world. Only what it searched in, or what revised its episodes, counts.
                except: &["distances", "true_world"],
                through: &["model", "gates"],
                why: "a teacher that searches in the evaluation world knows what it answers, and so does one whose episodes were revised by it",
                help: "let it search in a world of another family (its input `model`), or be gated by one (`gates`), or set `leakage_check: label`: the rows are then labelled as privileged",
                ..rule("teacher")
            });
        }
        rules.push(NoLeakage {
            why: "checkpoints selected by the evaluation world look better in it than elsewhere",
            help: "select checkpoints in a world that is neither the evaluation world nor made with it",
            ..rule("validation")
        });
        rules
    }

    fn forbidden_sources(&self) -> Vec<ForbiddenSource> {
        let world = ForbiddenSource {
            port: "world",
            made_by: "world.pessimistic",
            why: "its rewards are lowered where its models are uncertain, so they are no estimates of ratings",
            help: "evaluate in the world that it was made from, if no policy learned there, or in one of another family; connect worlds made for training to `training_world`",
        };
        let refined = ForbiddenSource {
            made_by: "world.reference_users",
            why: "its rewards are averages over other users, refined to learn in",
            ..world.clone()
        };
        vec![world, refined]
    }

    fn requirements(&self) -> Vec<Requirement> {
        let requirement = self.select_over.as_ref().map(|_| Requirement {
            setting: "select_over",
            port: "validation",
            connected: true,
            why: "checkpoints are selected in a validation world".to_owned(),
            help: "connect such a world, or sweep no checkpoints",
        });
        requirement.into_iter().collect()
    }

    fn memory(&self, inputs: &Sizes) -> Option<MemoryNeed> {
        self.tables(inputs)
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let world = &inputs.world;
        let listed = inputs.eval_users.as_ref();
        let all = eval_users::evaluated_users(world, listed)?;
        let users = &all[..all.len().min(self.users.unwrap_or(usize::MAX))];
        ensure!(!users.is_empty() && world.items() > 0, "the world has no user or no item");
        let origins = LeakageAudit::new(self.leakage_check, world, inputs.training_world.as_ref());
        origins.refuse(&inputs)?;
        if self.action_selection == ActionSelection::Sample {
            value_based::refuse(&inputs.policies)?;
        }
        let listed = listed.map(|_| &all[..]);
        let teachers = teachers::teachers(world, &inputs.teacher, &inputs.llm_usage, users, listed)?;
        let popularity = table_rows::popular(&inputs.train, world, self)?;
        let players = Evaluator {
            config: self,
            world,
            users,
            inputs: &inputs,
            popularity,
            teachers: &teachers,
            measures: Measures::new(inputs.training_world.as_ref(), &inputs.train, world.items()),
            origins,
        };
        let (rows, missing) = players.play(cx)?;
        cx.note(
            "episodes",
            rows.iter().flat_map(|row| &row.seed_results).map(|cell| cell.episodes.len()).sum::<usize>(),
        );
        cx.check_cancelled()?;
        for teacher in teachers.iter().filter(|teacher| !teacher.teacher_coverage.evaluated) {
            cx.note(&teacher.row, "played with users beyond `users`, so no row is compared with it");
        }
        let bootstrap = Bootstrap { seed: self.seed, resamples: self.n_resamples, resampling: self.resampling };
        // Each row is resampled twice: for the table and for its profile. Each learned one once more, against all others.
        let learned = rows.iter().filter(|row| row.role != RowRole::Baseline).count();
        let bar = cx.bar("intervals", Some((2 * rows.len() + learned) as u64), "rows");
        let metrics = table::table(&rows, missing, &bootstrap, &bar);
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
