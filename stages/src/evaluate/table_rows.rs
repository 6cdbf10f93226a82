//! The rows of the table, in their order.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail, ensure};
use pipeline::progress::Bar;
use pipeline::{Context, Many, Named};
use rand::RngExt;
use rayon::prelude::*;

use super::latency::latency;
use super::leakage::{LeakageAudit, origin, policy_label};
use super::ports::Inputs;
use super::results::{Measures, Row, SeedResult};
use super::settings::{ActionSelection, Evaluate};
use super::teacher_replay::TurnLimits;
use super::teachers::{TEACHER, Teacher};
use super::{model_selection, tuning};
use crate::artifact::{Candidates, Interactions, MissingRow, Origin, PolicyFile, Repeats, RowRole, World};
use crate::env::{
    Agent, Episodes, GreedyOracle, PolicyAgent, Popular, PopularCycle, Popularity, Random, RetrieverAgent,
    WithoutRepeats, planning_unsupported, play,
};
use crate::nn::rng;

pub(super) const RANDOM: &str = "random";
pub(super) const RANDOM_QUIT_AWARE: &str = "random quit-aware";
pub(super) const POPULAR_QUIT_AWARE: &str = "popular quit-aware";
pub(super) const POPULAR_CYCLE: &str = "popular cycle";
pub(super) const GREEDY_ORACLE: &str = "greedy oracle";
pub(super) const PLANNING_ORACLE: &str = "planning oracle";
/// What the name of a plan's row begins with; the world's follows.
pub(super) const PLAN: &str = "plan of ";
pub(super) const RETRIEVER_TOP_1: &str = "retriever top-1";
pub(super) const CONSTANT_REWARD: &str = "constant reward";
pub(super) const BEHAVIOUR_CLONING: &str = "behaviour cloning";

const KNOWS_DISTANCES: &str = "privileged: knows the distances of the evaluation world";
const KNOWS_ALL: &str =
    "privileged: knows rewards and distances of the evaluation world; myopic, so not an upper bound";
const STAYS: &str = "trained in the training world with a reward of 1 per step: the return of keeping users alone";
const ELSEWHERE: &str = "learned in another world than the one at `training_world`, so it has no `gap`";
const SERVED: &str = "repeats no item within an episode, as `recommend --exclude-history` serves it";
const UNTRAINED: &str = "untrained: the return of its initialisation";
const COPIES: &str = "trained on the demonstrations of the training world";

/// Fewer training seeds say little about another seed.
const MIN_SEEDS: usize = 5;

/// The policies of one name: the training seeds of one row.
type PolicyGroup<'a> = (&'a str, Vec<&'a Named<PolicyFile>>);

/// The inputs and settings of an evaluation.
pub(super) struct Evaluator<'a> {
    pub config: &'a Evaluate,
    pub world: &'a World,
    /// The evaluated users.
    pub users: &'a [u32],
    pub inputs: &'a Inputs,
    pub popularity: PopularItems,
    /// The language models with their episodes.
    pub teachers: &'a [Teacher<'a>],
    pub measures: Measures<'a>,
    pub origins: LeakageAudit,
}

/// Popularity in the training log.
pub(super) struct PopularItems {
    /// All items, most popular first.
    order: Vec<u32>,
    cycle: PopularCycle,
    /// The rating of a log in which all ratings are equal.
    one_rating: Option<f32>,
}

/// The popular items of a log; the cycle has one item more than users of the evaluation world remember.
pub(super) fn popular(train: &Interactions, world: &World, config: &Evaluate) -> Result<PopularItems> {
    let popularity = Popularity::of(train, world.items(), config.popularity_prior)?;
    let cycle = PopularCycle::new(train, world.items(), config.liked_from as f32, world.rules.quit_window + 1)?;
    let one_rating = popularity.of_one_rating.as_ref().map(|(rating, _)| *rating);
    Ok(PopularItems { order: popularity.order(), cycle, one_rating })
}

/// What the name of a row ends in that shows the policies of another row once more, where nothing of an episode is shown again:
/// as `recommend --exclude-history` serves them.
const WITHOUT_REPEATS: &str = " without repeats";

/// A baseline that could not be made, as the table lists it.
fn missing(name: &str, why: &str) -> MissingRow {
    MissingRow { policy: name.to_owned(), why: why.to_owned() }
}

impl Evaluator<'_> {
    /// Evaluates all rows; returns them with the baselines that could not be made.
    pub fn play(&self, cx: &Context) -> Result<(Vec<Row>, Vec<MissingRow>)> {
        let policies = self.by_name()?;
        if let Some(field) = &self.config.select_over {
            model_selection::known(field, &self.inputs.policies)?;
        }
        let candidates =
            self.inputs.candidates.as_ref().map(|candidates| self.checked_candidates(candidates)).transpose()?;
        let mut missing_rows = Vec::new();
        let (constant, cloning) = self.trained(cx, &mut missing_rows)?;

        let draws = self.config.n_repeats;
        let policies_played = self.inputs.policies.len() * if self.without_repeats_too() { 2 } else { 1 };
        let learned = policies_played + constant.len() + cloning.len() + self.inputs.planning_worlds.len();
        let fixed = 3 + usize::from(planning_unsupported(self.world).is_none()) + usize::from(candidates.is_some());
        let seed_results = 2 * draws + fixed + learned;
        let bar = cx.bar("play", Some((seed_results * self.users.len()) as u64), "episodes");
        let PopularItems { order, cycle, one_rating } = &self.popularity;
        let (length, liked) = (cycle.length, self.config.liked_from);
        let cycles = match cycle.any_high {
            true => format!("recommends in turn the {length} items with most ratings of {liked} or more"),
            false => format!(
                "recommends in turn the {length} items with most ratings, because no rating in the log is {liked} or more (`liked_from`)"
            ),
        };
        let popular = match one_rating {
            Some(rating) => {
                format!("{KNOWS_DISTANCES}; popularity by the number of ratings, because all ratings are {rating}")
            }
            None => KNOWS_DISTANCES.to_owned(),
        };
        let mut rows = vec![
            self.baseline_row(RANDOM, "", &Random { quit_aware: false }, draws, &bar)?,
            self.baseline_row(RANDOM_QUIT_AWARE, KNOWS_DISTANCES, &Random { quit_aware: true }, draws, &bar)?,
            self.baseline_row(POPULAR_QUIT_AWARE, &popular, &Popular { order: order.clone() }, 1, &bar)?,
            self.baseline_row(POPULAR_CYCLE, &cycles, cycle, 1, &bar)?,
            self.baseline_row(GREEDY_ORACLE, KNOWS_ALL, &GreedyOracle, 1, &bar)?,
        ];
        match planning_unsupported(self.world) {
            None => rows.push(self.best_plan(cx, &bar)?),
            Some(why) => missing_rows.push(missing(PLANNING_ORACLE, &format!("not made in this world: {why}"))),
        }
        if let Some(candidates) = &candidates {
            let remark = if candidates.candidates.filter_quit_items { KNOWS_DISTANCES } else { "" };
            rows.push(self.baseline_row(RETRIEVER_TOP_1, remark, candidates, 1, &bar)?);
        }
        for (name, remark, policies) in [(CONSTANT_REWARD, STAYS, &constant), (BEHAVIOUR_CLONING, COPIES, &cloning)] {
            if !policies.is_empty() {
                let seed_results = policies.iter().map(|policy| (policy.cell.clone(), policy)).collect::<Vec<_>>();
                rows.push(self.policy_row(name, RowRole::Baseline, remark.to_owned(), &seed_results, cx, &bar)?);
            }
        }
        rows.extend(self.teachers.iter().map(|teacher| self.teacher(teacher)));
        rows.extend(self.planned(cx, &bar)?);
        for (name, policies) in policies {
            cx.check_cancelled()?;
            let (seed_results, chosen) = match &self.config.select_over {
                None => (policies.iter().map(|policy| (policy.cell.clone(), *policy)).collect(), String::new()),
                Some(field) => model_selection::choose(field, &policies, self.inputs.validation.as_ref())?,
            };
            rows.push(self.policy_row(name, RowRole::Policy, chosen, &seed_results, cx, &bar)?);
            if self.without_repeats_too() {
                rows.push(self.without_repeats(&rows[rows.len() - 1], &seed_results, &bar)?);
            }
        }
        for row in &missing_rows {
            cx.note(&format!("no {}", row.policy), &row.why);
        }
        Ok((rows, missing_rows))
    }

    /// The learned baselines that are switched on and can be made: constant reward and behaviour cloning.
    fn trained(
        &self,
        cx: &Context,
        missing_rows: &mut Vec<MissingRow>,
    ) -> Result<(Many<PolicyFile>, Many<PolicyFile>)> {
        let Inputs { training_world: training, demonstrations, .. } = self.inputs;
        if let Some(training) = training {
            let (users, items) = (self.world.users(), self.world.items());
            ensure!(
                (training.users(), training.items()) == (users, items),
                "the world at `training_world` has {} users and {} items, the evaluation world {users} and {items}\nhelp: make both from one \
                 ingest stage",
                training.users(),
                training.items()
            );
        }
        // A table without policies needs no learned baseline.
        if self.inputs.policies.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        let baselines = &self.config.baselines;
        let constant = match training {
            _ if !baselines.constant_reward => {
                missing_rows.push(missing(CONSTANT_REWARD, "turned off: set `baselines.constant_reward: true`"));
                Vec::new()
            }
            None => {
                missing_rows.push(missing(
                    CONSTANT_REWARD,
                    "connect `training_world`, the world in which the policies learned",
                ));
                Vec::new()
            }
            Some(training) => baselines.constant_reward(CONSTANT_REWARD, training, cx)?,
        };
        let mut copied = false;
        for policy in &self.inputs.policies {
            copied |= policy.value.origin().with_context(|| policy_label(policy))?.learner == "rl.bc";
        }
        let cloning = match (training, demonstrations) {
            _ if copied => Vec::new(),
            _ if !baselines.behaviour_cloning => {
                missing_rows.push(missing(BEHAVIOUR_CLONING, "turned off: set `baselines.behaviour_cloning: true`"));
                Vec::new()
            }
            (Some(training), Some(demonstrations)) => {
                baselines.behaviour_cloning(BEHAVIOUR_CLONING, training, demonstrations, cx)?
            }
            _ => {
                let help = "connect a policy of `rl.bc`, or `training_world` and `demonstrations`";
                missing_rows.push(missing(BEHAVIOUR_CLONING, help));
                Vec::new()
            }
        };
        if self.teachers.is_empty() {
            missing_rows
                .push(missing(TEACHER, "connect `teacher`: episodes of the language model in the evaluation world"));
        }
        Ok((constant, cloning))
    }

    /// Policies by name, in order of appearance; the cells of one name are its seeds.
    fn by_name(&self) -> Result<Vec<PolicyGroup<'_>>> {
        let mut groups: Vec<PolicyGroup> = Vec::new();
        let taken = self.names_of_other_rows();
        for policy in &self.inputs.policies {
            let name = policy.name.as_str();
            ensure!(
                !taken.contains(name),
                "a policy cannot be called `{name}`: the evaluation has a row of that name\nhelp: rename it"
            );
            match groups.iter_mut().find(|(known, _)| *known == name) {
                Some((_, seed_results)) => seed_results.push(policy),
                None => groups.push((name, vec![policy])),
            }
        }
        Ok(groups)
    }

    /// What the rows are called, or would be, that show no policy as it was trained.
    fn names_of_other_rows(&self) -> BTreeSet<String> {
        let fixed = [
            RANDOM,
            RANDOM_QUIT_AWARE,
            POPULAR_QUIT_AWARE,
            POPULAR_CYCLE,
            GREEDY_ORACLE,
            PLANNING_ORACLE,
            RETRIEVER_TOP_1,
            CONSTANT_REWARD,
            BEHAVIOUR_CLONING,
            TEACHER,
        ];
        let teachers = self.teachers.iter().map(|teacher| teacher.row.clone());
        let plans = self.inputs.planning_worlds.iter().map(|world| format!("{PLAN}{}", world.name));
        let served = self.inputs.policies.iter().map(|policy| format!("{}{WITHOUT_REPEATS}", policy.name));
        let served = served.filter(|_| self.without_repeats_too());
        fixed.map(str::to_owned).into_iter().chain(teachers).chain(plans).chain(served).collect()
    }

    fn checked_candidates<'r>(&self, candidates: &'r Candidates) -> Result<RetrieverAgent<'r>> {
        let (world, horizon) = (self.world, self.world.rules.horizon);
        let (users, items) = (world.users(), world.items());
        ensure!(
            candidates.items.len() == users,
            "the candidates are for {} users, the world has {users}\nhelp: make both from one ingest stage",
            candidates.items.len()
        );
        for (user, list) in candidates.items.iter().enumerate() {
            let strange = list.iter().find(|item| **item as usize >= items).copied();
            if let Some(item) = strange {
                bail!("the candidates of user {user} name item {item}, the world has {items}");
            }
            ensure!(
                list.len() >= horizon,
                "user {user} has {} candidates for episodes of {horizon} steps\nhelp: set `top_k` of the retrieve stage \
                 to {horizon} or more, or `horizon` of the world to at most the size of the catalogue ({items})",
                list.len()
            );
        }
        Ok(RetrieverAgent { candidates })
    }

    fn teacher(&self, teacher: &Teacher) -> Row {
        let mut cell = self.measures.cell("", &teacher.episodes);
        for (episode, usage) in cell.episodes.iter_mut().zip(teacher.usage.iter().flatten()) {
            episode.usage = Some(*usage);
        }
        let (knows, remarks) = self.origins.remarks_of_search(&teacher.searched_in);
        let offered = self.inputs.candidates.as_ref().is_some_and(|candidates| candidates.filter_quit_items);
        let remarks = std::iter::once(self.teacher_remark(teacher)).chain(remarks);
        Row {
            name: teacher.row.clone(),
            role: RowRole::Teacher,
            privileged: knows || offered,
            remark: remarks.collect::<Vec<_>>().join("; "),
            seed_results: vec![cell],
            teacher_coverage: Some(teacher.teacher_coverage.clone()),
            extra: Vec::new(),
        }
    }

    fn teacher_remark(&self, teacher: &Teacher) -> String {
        let (users, horizon) = (teacher.episodes.len(), self.world.rules.horizon);
        let mut remark = format!("evaluated on its own {users} users, because it is slow");
        match &self.inputs.candidates {
            Some(candidates) if candidates.filter_quit_items => {
                remark += "; privileged: its candidates leave out items that would trigger the quit rule";
            }
            Some(_) => {}
            None => remark += "; connect `candidates` to check whether its candidates used the distances",
        }
        let TurnLimits { most, fewer } = &teacher.teacher_coverage.turns;
        if *most < horizon {
            remark += &format!("; truncated after {most} of {horizon} steps, so its return is not comparable");
        }
        if !fewer.is_empty() {
            let count = fewer.len();
            remark += &format!("; its items ran out with {count} users who stayed, so its return is not comparable");
        }
        remark
    }

    pub fn baseline_row(
        &self,
        name: &str,
        remark: &str,
        agent: &dyn Agent,
        n_repeats: usize,
        bar: &Bar,
    ) -> Result<Row> {
        let cell = |k: usize| {
            let cell = if n_repeats > 1 { format!("episode={k}") } else { String::new() };
            self.cell(&cell, agent, k, bar)
        };
        let seed_results: Vec<Result<SeedResult>> = (0..n_repeats).into_par_iter().map(cell).collect();
        Ok(Row {
            name: name.to_owned(),
            role: RowRole::Baseline,
            privileged: remark.starts_with("privileged"),
            remark: remark.to_owned(),
            // In order, so that the reported error is always the same.
            seed_results: seed_results.into_iter().collect::<Result<_>>().with_context(|| format!("row `{name}`"))?,
            teacher_coverage: None,
            extra: Vec::new(),
        })
    }

    /// The row of policies, each with the name of its cell.
    fn policy_row(
        &self,
        name: &str,
        role: RowRole,
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
        if self.config.action_selection == ActionSelection::Sample {
            remarks.push("samples its actions".to_owned());
        }
        let origins = policies.iter().map(|(_, policy)| origin(policy)).collect::<Result<Vec<_>>>()?;
        let (privileged, remarks_of) = self.origins.remarks_of(&origins);
        remarks.extend(remarks_of.into_iter().map(str::to_owned));
        if role != RowRole::Baseline {
            remarks.extend(tuning::remark(&origins, &self.inputs.policies)?);
        }
        let untrained = origins.iter().filter(|origin| origin.untrained).count();
        if untrained > 0 && untrained == origins.len() {
            remarks.push(UNTRAINED.to_owned());
        } else if untrained > 0 {
            remarks.push(format!("{untrained} of its {} policies are untrained", origins.len()));
        }
        // The learned baselines are trained at `training_world`, whatever their reward.
        if role != RowRole::Baseline && self.origins.learned_elsewhere(policies)? {
            seed_results.iter_mut().flat_map(|cell| &mut cell.episodes).for_each(|episode| episode.training = None);
            remarks.push(ELSEWHERE.to_owned());
        }
        if let Some((_, first)) = policies.first() {
            let network = PolicyAgent::load(&first.value, self.world.users(), self.world.items())?;
            let agent =
                PolicyAgent { network: &network, sample: self.config.action_selection == ActionSelection::Sample };
            cx.note(&format!("time of {name}"), latency(self.world, self.users, &agent)?);
        }
        if seed_results.len() < MIN_SEEDS && role != RowRole::Baseline {
            let few = format!("{}: fewer than {MIN_SEEDS} say little about another seed", seed_results.len());
            cx.note(&format!("seeds of {name}"), few);
        }
        let share = |origin: &Origin| vec![f64::from(u8::from(origin.untrained)); self.users.len()];
        let extra = if untrained > 0 { vec![("untrained", origins.iter().map(share).collect())] } else { Vec::new() };
        let (name, remark) = (name.to_owned(), remarks.join("; "));
        Ok(Row { name, role, privileged, remark, seed_results, teacher_coverage: None, extra })
    }

    fn policy_result(&self, cell: &str, policy: &Named<PolicyFile>, k: usize, bar: &Bar) -> Result<SeedResult> {
        let network = PolicyAgent::load(&policy.value, self.world.users(), self.world.items())?;
        let agent = PolicyAgent { network: &network, sample: self.config.action_selection == ActionSelection::Sample };
        self.cell(cell, &agent, k, bar)
    }

    /// Whether each policy is evaluated twice: by the world's rule of repeats, and without repeats.
    fn without_repeats_too(&self) -> bool {
        self.config.exclude_history && self.world.rules.repeats == Repeats::Allowed
    }

    /// The row of the same policies without repeats.
    fn without_repeats(&self, of: &Row, policies: &[(String, &Named<PolicyFile>)], bar: &Bar) -> Result<Row> {
        let cell = |(k, (cell, policy)): (usize, &(String, &Named<PolicyFile>))| {
            let network = PolicyAgent::load(&policy.value, self.world.users(), self.world.items())?;
            let policy_result =
                PolicyAgent { network: &network, sample: self.config.action_selection == ActionSelection::Sample };
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
            role: match of.role {
                RowRole::Policy => RowRole::PolicyWithoutRepeats,
                other => other,
            },
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
        let seed = rng(&[self.config.seed, 0xe7a1, k as u64]).random();
        let episodes = play(self.world, self.users, agent, seed)?;
        bar.inc(self.users.len() as u64);
        Ok(episodes)
    }
}
