//! Who plays, in the order of the table.

use anyhow::{Context as _, Result, bail, ensure};
use pipeline::progress::Bar;
use pipeline::{Context, Many, Named};
use rand::RngExt;
use rayon::prelude::*;

use super::latency::latency;
use super::leakage::{LeakageAudit, origin, policy_label};
use super::model_selection;
use super::planning::PLAN;
use super::results::{Measures, Row, SeedResult};
use super::teacher_replay::TurnLimits;
use super::teachers::{TEACHER, Teacher};
use super::{ActionSelection, Evaluate, Inputs};
use crate::artifact::{Candidates, Interactions, Metric, Origin, PolicyFile, Repeats, WITHOUT_REPEATS, World};
use crate::env::{
    Agent, Episodes, GreedyOracle, PolicyAgent, Popular, PopularCycle, Popularity, Random, RetrieverAgent,
    WithoutRepeats, planning_unsupported, play,
};
use crate::nn::rng;

pub(super) const RANDOM: &str = "random";
pub(super) const RANDOM_QUIT_AWARE: &str = "random non-conflicting";
pub(super) const POPULAR_QUIT_AWARE: &str = "popular non-conflicting";
pub(super) const POPULAR_CYCLE: &str = "popular cycle";
pub(super) const GREEDY_ORACLE: &str = "greedy oracle";
pub(super) const PLANNING_ORACLE: &str = "best plan";
pub(super) const RETRIEVER_TOP_1: &str = "retriever alone";
pub(super) const CONSTANT_REWARD: &str = "constant-reward learner";
pub(super) const BEHAVIOUR_CLONING: &str = "behaviour cloning";

const KNOWS_DISTANCES: &str = "privileged: knows the judging distances";
const KNOWS_ALL: &str = "privileged: knows the judging rewards and distances; myopic, so not a proven upper bound";
const STAYS: &str = "trained in the training world on a reward of 1 a step: what staying alone gives";
const ELSEWHERE: &str = "learned in another world than the one at `training`, so it has no gap";
const SERVED: &str = "shows nothing twice in an episode, as `recommend --exclude-history` serves it";
const UNTRAINED: &str = "untrained: shows what its initialisation returns";
const COPIES: &str = "copies the demonstrations of the training world";

/// Fewer training seeds say little of how another seed would do.
const MIN_SEEDS: usize = 5;

/// The policies of one name: the training seeds of one row.
type PolicyGroup<'a> = (&'a str, Vec<&'a Named<PolicyFile>>);

/// Everything that is played with, and how.
pub(super) struct Evaluator<'a> {
    pub config: &'a Evaluate,
    pub world: &'a World,
    /// Who is played with.
    pub users: &'a [u32],
    pub inputs: &'a Inputs,
    pub popularity: PopularItems,
    /// The language models and what they played.
    pub teachers: &'a [Teacher<'a>],
    pub measures: Measures<'a>,
    pub origins: LeakageAudit,
}

/// What everybody likes, from the train log.
pub(super) struct PopularItems {
    /// All items, most popular first.
    order: Vec<u32>,
    cycle: PopularCycle,
    /// The one rating of a log that has no other.
    one_rating: Option<f32>,
}

/// The popular items of a log; as many in the cycle as the judge's users remember, and one more.
pub(super) fn popular(train: &Interactions, world: &World, config: &Evaluate) -> Result<PopularItems> {
    let popularity = Popularity::of(train, world.items(), config.popularity_prior)?;
    let cycle = PopularCycle::new(train, world.items(), config.liked as f32, world.rules.quit_window + 1)?;
    let one_rating = popularity.of_one_rating.as_ref().map(|(rating, _)| *rating);
    Ok(PopularItems { order: popularity.order(), cycle, one_rating })
}

/// A control that could not be made, as the table lists it.
fn missing(name: &str, help: &str) -> Metric {
    Metric {
        policy: name.to_owned(),
        control: true,
        privileged: false,
        remark: help.to_owned(),
        metric: "missing".to_owned(),
        mean: 0.0,
        low: 0.0,
        high: 0.0,
        seeds: 0,
        episodes: 0,
    }
}

impl Evaluator<'_> {
    /// Plays all rows; the controls that could not be made beside them.
    pub fn play(&self, cx: &Context) -> Result<(Vec<Row>, Vec<Metric>)> {
        let policies = self.by_name()?;
        if let Some(field) = &self.config.checkpoint {
            model_selection::known(field, &self.inputs.policies)?;
        }
        let candidates =
            self.inputs.candidates.as_ref().map(|candidates| self.checked_candidates(candidates)).transpose()?;
        let mut missing_rows = Vec::new();
        let (constant, cloning) = self.trained(cx, &mut missing_rows)?;

        let draws = self.config.repetitions;
        let policies_played = self.inputs.policies.len() * if self.without_repeats_too() { 2 } else { 1 };
        let learned = policies_played + constant.len() + cloning.len() + self.inputs.planned.len();
        let fixed = 3 + usize::from(planning_unsupported(self.world).is_none()) + usize::from(candidates.is_some());
        let seed_results = 2 * draws + fixed + learned;
        let bar = cx.bar("play", Some((seed_results * self.users.len()) as u64), "episodes");
        let PopularItems { order, cycle, one_rating } = &self.popularity;
        let (length, liked) = (cycle.length, self.config.liked);
        let cycles = match cycle.any_high {
            true => format!("shows in turn the {length} items with most ratings of {liked} or more"),
            false => format!(
                "shows in turn the {length} items with most ratings, for none in the log is {liked} or more (`liked`)"
            ),
        };
        let popular = match one_rating {
            Some(rating) => format!("{KNOWS_DISTANCES}; by how often items were rated, for all ratings are {rating}"),
            None => KNOWS_DISTANCES.to_owned(),
        };
        let mut rows = vec![
            self.control(RANDOM, "", &Random { quit_aware: false }, draws, &bar)?,
            self.control(RANDOM_QUIT_AWARE, KNOWS_DISTANCES, &Random { quit_aware: true }, draws, &bar)?,
            self.control(POPULAR_QUIT_AWARE, &popular, &Popular { order: order.clone() }, 1, &bar)?,
            self.control(POPULAR_CYCLE, &cycles, cycle, 1, &bar)?,
            self.control(GREEDY_ORACLE, KNOWS_ALL, &GreedyOracle, 1, &bar)?,
        ];
        match planning_unsupported(self.world) {
            None => rows.push(self.best_plan(cx, &bar)?),
            Some(why) => missing_rows.push(missing(PLANNING_ORACLE, &format!("not made in this world: {why}"))),
        }
        if let Some(candidates) = &candidates {
            let remark = if candidates.candidates.filter_quit_items { KNOWS_DISTANCES } else { "" };
            rows.push(self.control(RETRIEVER_TOP_1, remark, candidates, 1, &bar)?);
        }
        for (name, remark, policies) in [(CONSTANT_REWARD, STAYS, &constant), (BEHAVIOUR_CLONING, COPIES, &cloning)] {
            if !policies.is_empty() {
                let seed_results = policies.iter().map(|policy| (policy.cell.clone(), policy)).collect::<Vec<_>>();
                rows.push(self.policy_row(name, true, remark.to_owned(), &seed_results, cx, &bar)?);
            }
        }
        rows.extend(self.teachers.iter().map(|teacher| self.teacher(teacher)));
        rows.extend(self.planned(cx, &bar)?);
        for (name, policies) in policies {
            cx.check_cancelled()?;
            let (seed_results, chosen) = match &self.config.checkpoint {
                None => (policies.iter().map(|policy| (policy.cell.clone(), *policy)).collect(), String::new()),
                Some(field) => model_selection::choose(field, &policies, self.inputs.validation.as_ref())?,
            };
            rows.push(self.policy_row(name, false, chosen, &seed_results, cx, &bar)?);
            if self.without_repeats_too() {
                rows.push(self.without_repeats(&rows[rows.len() - 1], &seed_results, &bar)?);
            }
        }
        for metric in &missing_rows {
            cx.note(&format!("no {}", metric.policy), &metric.remark);
        }
        Ok((rows, missing_rows))
    }

    /// The controls that learn, those that are wanted and can be made: paid to stay, and copying.
    fn trained(&self, cx: &Context, missing_rows: &mut Vec<Metric>) -> Result<(Many<PolicyFile>, Many<PolicyFile>)> {
        let Inputs { training, demonstrations, .. } = self.inputs;
        if let Some(training) = training {
            let (users, items) = (self.world.users(), self.world.items());
            ensure!(
                (training.users(), training.items()) == (users, items),
                "the world at `training` has {} users and {} items, the judge {users} and {items}\nhelp: make both from one \
                 ingest stage",
                training.users(),
                training.items()
            );
        }
        // Controls beside nothing need no learner among them.
        if self.inputs.policies.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        let controls = &self.config.controls;
        let constant = match training {
            _ if !controls.constant => {
                missing_rows.push(missing(CONSTANT_REWARD, "turned off: set `controls.constant: true`"));
                Vec::new()
            }
            None => {
                missing_rows
                    .push(missing(CONSTANT_REWARD, "connect `training`, the world that the policies learned in"));
                Vec::new()
            }
            Some(training) => controls.constant(CONSTANT_REWARD, training, cx)?,
        };
        let mut copied = false;
        for policy in &self.inputs.policies {
            copied |= policy.value.origin().with_context(|| policy_label(policy))?.learner == "rl.bc";
        }
        let cloning = match (training, demonstrations) {
            _ if copied => Vec::new(),
            _ if !controls.cloning => {
                missing_rows.push(missing(BEHAVIOUR_CLONING, "turned off: set `controls.cloning: true`"));
                Vec::new()
            }
            (Some(training), Some(demonstrations)) => {
                controls.cloning(BEHAVIOUR_CLONING, training, demonstrations, cx)?
            }
            _ => {
                let help = "connect a policy of `rl.bc`, or `training` and `demonstrations`";
                missing_rows.push(missing(BEHAVIOUR_CLONING, help));
                Vec::new()
            }
        };
        if self.teachers.is_empty() {
            missing_rows.push(missing(TEACHER, "connect `teacher`: the demonstrator in the judging world"));
        }
        Ok((constant, cloning))
    }

    /// Policies by name, in order of appearance; the cells of one name are its seeds.
    fn by_name(&self) -> Result<Vec<PolicyGroup<'_>>> {
        let mut groups: Vec<PolicyGroup> = Vec::new();
        for policy in &self.inputs.policies {
            let name = policy.name.as_str();
            let own = [
                RANDOM,
                RANDOM_QUIT_AWARE,
                POPULAR_QUIT_AWARE,
                POPULAR_CYCLE,
                GREEDY_ORACLE,
                PLANNING_ORACLE,
                RETRIEVER_TOP_1,
                CONSTANT_REWARD,
                BEHAVIOUR_CLONING,
            ];
            let taken = own.contains(&name)
                || name.starts_with("teacher")
                || name.starts_with(PLAN)
                || name.ends_with(WITHOUT_REPEATS);
            ensure!(!taken, "a policy cannot be called `{name}`: that row is the evaluation's own\nhelp: rename it");
            match groups.iter_mut().find(|(known, _)| *known == name) {
                Some((_, seed_results)) => seed_results.push(policy),
                None => groups.push((name, vec![policy])),
            }
        }
        Ok(groups)
    }

    fn checked_candidates<'r>(&self, candidates: &'r Candidates) -> Result<RetrieverAgent<'r>> {
        let (world, horizon) = (self.world, self.world.rules.horizon);
        let (users, items) = (world.users(), world.items());
        ensure!(
            candidates.items.len() == users,
            "the candidates are of {} users, the world of {users}\nhelp: make both from one ingest stage",
            candidates.items.len()
        );
        for (user, list) in candidates.items.iter().enumerate() {
            let strange = list.iter().find(|item| **item as usize >= items).copied();
            if let Some(item) = strange {
                bail!("user {user}'s list of candidates names item {item}, the world has {items}");
            }
            ensure!(
                list.len() >= horizon,
                "user {user}'s list of candidates holds {} items for episodes of {horizon} turns\nhelp: set `top_k` of the retrieve stage \
                 to {horizon} or more, or `horizon` of the world to at most the size of the catalogue ({items})",
                list.len()
            );
        }
        Ok(RetrieverAgent { candidates })
    }

    fn teacher(&self, teacher: &Teacher) -> Row {
        let mut cell = self.measures.cell("", &teacher.episodes);
        for (episode, effort) in cell.episodes.iter_mut().zip(teacher.efforts.iter().flatten()) {
            episode.effort = Some(*effort);
        }
        Row {
            name: teacher.row.clone(),
            control: false,
            privileged: self.inputs.candidates.as_ref().is_some_and(|candidates| candidates.filter_quit_items),
            remark: self.teacher_remark(teacher),
            seed_results: vec![cell],
            teacher_coverage: Some(teacher.teacher_coverage.clone()),
            extra: Vec::new(),
        }
    }

    fn teacher_remark(&self, teacher: &Teacher) -> String {
        let (users, horizon) = (teacher.episodes.len(), self.world.rules.horizon);
        let mut remark = format!("judged on its own {users} users, because it is slow");
        match &self.inputs.candidates {
            Some(candidates) if candidates.filter_quit_items => {
                remark += "; privileged: its offers leave out what the distances say would end the episode";
            }
            Some(_) => {}
            None => remark += "; connect `candidates` to learn whether its offers knew the distances",
        }
        let TurnLimits { most, fewer } = &teacher.teacher_coverage.turns;
        if *most < horizon {
            remark += &format!("; cut after {most} turns of {horizon}, so its return stands beside no other");
        }
        if !fewer.is_empty() {
            let count = fewer.len();
            remark +=
                &format!("; its items ran out with {count} users who stayed, so its return stands beside no other");
        }
        remark
    }

    pub fn control(&self, name: &str, remark: &str, agent: &dyn Agent, repetitions: usize, bar: &Bar) -> Result<Row> {
        let cell = |k: usize| {
            let cell = if repetitions > 1 { format!("episode={k}") } else { String::new() };
            self.cell(&cell, agent, k, bar)
        };
        let seed_results: Vec<Result<SeedResult>> = (0..repetitions).into_par_iter().map(cell).collect();
        Ok(Row {
            name: name.to_owned(),
            control: true,
            privileged: remark.starts_with("privileged"),
            remark: remark.to_owned(),
            // In order, so that the error told is always the same.
            seed_results: seed_results.into_iter().collect::<Result<_>>().with_context(|| format!("row `{name}`"))?,
            teacher_coverage: None,
            extra: Vec::new(),
        })
    }

    /// The row of policies, each with the name of its cell.
    fn policy_row(
        &self,
        name: &str,
        control: bool,
        remark: String,
        policies: &[(String, &Named<PolicyFile>)],
        cx: &Context,
        bar: &Bar,
    ) -> Result<Row> {
        let cell = |(k, (cell, policy)): (usize, &(String, &Named<PolicyFile>))| {
            self.policy_result(cell, policy, k, bar).with_context(|| policy_label(policy))
        };
        let seed_results: Vec<Result<SeedResult>> = policies.par_iter().enumerate().map(cell).collect();
        let mut seed_results: Vec<SeedResult> = seed_results.into_iter().collect::<Result<_>>()?;
        let mut remarks = if remark.is_empty() { Vec::new() } else { vec![remark] };
        if self.config.act == ActionSelection::Sample {
            remarks.push("draws its actions".to_owned());
        }
        let origins = policies.iter().map(|(_, policy)| origin(policy)).collect::<Result<Vec<_>>>()?;
        let (privileged, remarks_of) = self.origins.remarks_of(&origins);
        remarks.extend(remarks_of.into_iter().map(str::to_owned));
        let untrained = origins.iter().filter(|origin| origin.untrained).count();
        if untrained > 0 && untrained == origins.len() {
            remarks.push(UNTRAINED.to_owned());
        } else if untrained > 0 {
            remarks.push(format!("{untrained} of its {} policies are untrained", origins.len()));
        }
        // The controls that learn do so at `training`, whatever they are paid there.
        if !control && self.origins.learned_elsewhere(policies)? {
            seed_results.iter_mut().flat_map(|cell| &mut cell.episodes).for_each(|episode| episode.training = None);
            remarks.push(ELSEWHERE.to_owned());
        }
        if let Some((_, first)) = policies.first() {
            let network = PolicyAgent::load(&first.value, self.world.users(), self.world.items())?;
            let agent = PolicyAgent { network: &network, sample: self.config.act == ActionSelection::Sample };
            cx.note(&format!("time of {name}"), latency(self.world, self.users, &agent)?);
        }
        if seed_results.len() < MIN_SEEDS && !control {
            let few = format!("{}: fewer than {MIN_SEEDS} say little of how another would do", seed_results.len());
            cx.note(&format!("seeds of {name}"), few);
        }
        let share = |origin: &Origin| vec![f64::from(u8::from(origin.untrained)); self.users.len()];
        let extra = if untrained > 0 { vec![("untrained", origins.iter().map(share).collect())] } else { Vec::new() };
        let (name, remark) = (name.to_owned(), remarks.join("; "));
        Ok(Row { name, control, privileged, remark, seed_results, teacher_coverage: None, extra })
    }

    fn policy_result(&self, cell: &str, policy: &Named<PolicyFile>, k: usize, bar: &Bar) -> Result<SeedResult> {
        let network = PolicyAgent::load(&policy.value, self.world.users(), self.world.items())?;
        let agent = PolicyAgent { network: &network, sample: self.config.act == ActionSelection::Sample };
        self.cell(cell, &agent, k, bar)
    }

    /// Whether each policy plays twice: as the world's rule has it, and without repeats.
    fn without_repeats_too(&self) -> bool {
        self.config.exclude_history && self.world.rules.repeats == Repeats::Allowed
    }

    /// The row of the same policies where nothing is shown twice.
    fn without_repeats(&self, of: &Row, policies: &[(String, &Named<PolicyFile>)], bar: &Bar) -> Result<Row> {
        let cell = |(k, (cell, policy)): (usize, &(String, &Named<PolicyFile>))| {
            let network = PolicyAgent::load(&policy.value, self.world.users(), self.world.items())?;
            let policy_result = PolicyAgent { network: &network, sample: self.config.act == ActionSelection::Sample };
            self.cell(cell, &WithoutRepeats(policy_result), k, bar).with_context(|| policy_label(policy))
        };
        let seed_results: Vec<Result<SeedResult>> = policies.par_iter().enumerate().map(cell).collect();
        let mut seed_results: Vec<SeedResult> = seed_results.into_iter().collect::<Result<_>>()?;
        for (own, plain) in seed_results.iter_mut().zip(&of.seed_results) {
            for (own, plain) in own.episodes.iter_mut().zip(&plain.episodes) {
                own.training = own.training.filter(|_| plain.training.is_some());
            }
        }
        let remarks = [of.remark.as_str(), SERVED].into_iter().filter(|remark| !remark.is_empty());
        Ok(Row {
            name: format!("{}{WITHOUT_REPEATS}", of.name),
            control: of.control,
            privileged: of.privileged,
            remark: remarks.collect::<Vec<_>>().join("; "),
            seed_results,
            teacher_coverage: None,
            extra: of.extra.clone(),
        })
    }

    fn cell(&self, name: &str, agent: &dyn Agent, k: usize, bar: &Bar) -> Result<SeedResult> {
        Ok(self.measures.cell(name, &self.played(agent, k, bar)?))
    }

    /// The k-th episodes of an agent, one with each user.
    pub fn played(&self, agent: &dyn Agent, k: usize, bar: &Bar) -> Result<Episodes<'_>> {
        let seed = rng(&[self.config.episodes_seed, 0xe7a1, k as u64]).random();
        let episodes = play(self.world, self.users, agent, seed)?;
        bar.inc(self.users.len() as u64);
        Ok(episodes)
    }
}
