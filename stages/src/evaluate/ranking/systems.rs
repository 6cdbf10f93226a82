//! What ranks the catalogue, and the first items of its rankings.
//!
//! Every item of the catalogue can be in a ranking, but for those that are masked; scores decide, and of equal scores the lower item
//! number comes first. Nothing larger than the scores of some users is held at once.

use anyhow::{Context as _, Result, ensure};
use pipeline::progress::Bar;
use pipeline::{Context, Many, Named};
use rand::seq::index;
use rayon::prelude::*;

use super::super::leakage::policy_label;
use super::held_out::HeldOut;
use super::ports::RankingInputs;
use super::settings::EvaluateRanking;
use crate::artifact::{Candidates, Interactions, PolicyFile, World};
use crate::env::{Observation, states};
use crate::nn::{PolicyNetwork, policy_io, rng, top_items};

pub(super) const RANDOM: &str = "random";
pub(super) const MOST_INTERACTIONS: &str = "popular";

/// Scores at once of each thread, and the most users that a policy is asked about at a time.
const SCORES: usize = 1 << 20;
pub(super) const BATCH: usize = 256;

/// What is to be ranked.
pub(super) struct Task {
    pub users: usize,
    pub items: usize,
    /// How many items of each ranking are wanted.
    pub k: usize,
    /// Whether anything is masked.
    pub exclude: bool,
}

/// A row of the table.
pub(super) struct System<'a> {
    pub name: String,
    pub baseline: bool,
    /// The training seeds, by their cells, or the repetitions.
    pub cells: Vec<(String, Ranker<'a>)>,
}

/// What ranks.
pub(super) enum Ranker<'a> {
    /// Uniformly random rankings, each user's of its own, by these numbers.
    Random(u64, u64),
    /// One ranking for all users.
    Shared(Vec<u32>),
    /// The lists of a retriever.
    Candidates(&'a Candidates),
    /// The expected rewards of a world.
    World(&'a World),
    /// The scores of a policy.
    Policy(&'a Named<PolicyFile>),
}

/// All systems: the baselines, then retrievers, worlds and policies in their order.
pub(super) fn systems<'a>(stage: &EvaluateRanking, inputs: &'a RankingInputs) -> Vec<System<'a>> {
    let repeats =
        (0..stage.n_repeats as u64).map(|repeat| (format!("repeat={repeat}"), Ranker::Random(stage.seed, repeat)));
    let mut systems = vec![
        System { name: RANDOM.to_owned(), baseline: true, cells: repeats.collect() },
        System {
            name: MOST_INTERACTIONS.to_owned(),
            baseline: true,
            cells: vec![(String::new(), Ranker::Shared(by_interactions(&inputs.train, inputs.items.len())))],
        },
    ];
    add(&mut systems, true, "candidates", &inputs.candidates, |named| Ranker::Candidates(&named.value));
    add(&mut systems, false, "world", &inputs.worlds, |named| Ranker::World(&named.value));
    add(&mut systems, false, "policy", &inputs.policies, Ranker::Policy);
    systems
}

/// Those of one input: the artifacts of one name are one system.
fn add<'a, A>(
    systems: &mut Vec<System<'a>>,
    baseline: bool,
    what: &str,
    artifacts: &'a Many<A>,
    ranker: impl Fn(&'a Named<A>) -> Ranker<'a>,
) {
    let before = systems.len();
    for named in artifacts {
        // Two inputs may have one name.
        let taken = systems[..before].iter().any(|system| system.name == named.name);
        let name = if taken { format!("{} ({what})", named.name) } else { named.name.clone() };
        let cell = (named.cell.clone(), ranker(named));
        match systems[before..].iter_mut().find(|system| system.name == name) {
            Some(system) => system.cells.push(cell),
            None => systems.push(System { name, baseline, cells: vec![cell] }),
        }
    }
}

/// All items by their number of interactions, most first; ties to the lowest number.
fn by_interactions(log: &Interactions, items: usize) -> Vec<u32> {
    let mut counts = vec![0_u64; items];
    log.item.iter().for_each(|&item| counts[item as usize] += 1);
    let mut order: Vec<u32> = (0..items as u32).collect();
    order.sort_by_key(|&item| (std::cmp::Reverse(counts[item as usize]), item));
    order
}

impl Ranker<'_> {
    /// Whether its lists are only as long as a stage made them.
    pub fn is_of_candidates(&self) -> bool {
        matches!(self, Self::Candidates(_))
    }

    /// Whether it is for so many users and items; `label` names it.
    pub fn check(&self, label: &str, users: usize, items: usize) -> Result<()> {
        let found = match self {
            Self::Random(..) | Self::Shared(_) | Self::Policy(_) => return Ok(()),
            Self::World(world) => (world.users(), world.items()),
            Self::Candidates(candidates) => {
                let most = candidates.items.iter().flatten().max().map_or(0, |&item| item as usize + 1);
                (candidates.items.len(), most.max(items))
            }
        };
        fits(label, found, (users, items))
    }

    /// The first `k` items of each evaluated user's ranking.
    pub fn rank(&self, held: &HeldOut, task: &Task, bar: &Bar, cx: &Context) -> Result<Vec<Vec<u32>>> {
        if let Self::Policy(policy) = self {
            return of_policy(policy, held, task, bar, cx);
        }
        let &Task { items, k, .. } = task;
        let rank = |place: usize| {
            cx.check_cancelled()?;
            let masked = &held.masked[place];
            let is_free = |item: &u32| masked.binary_search(item).is_err();
            bar.inc(1);
            Ok(match self {
                Self::Random(seed, repeat) => {
                    // The first items of a random order without those that are masked are as those of a random order of the others.
                    let mut draw = rng(&[*seed, 0x4a4e, *repeat, u64::from(held.users[place])]);
                    let drawn = index::sample(&mut draw, items, items.min(k + masked.len()));
                    drawn.iter().map(|item| item as u32).filter(is_free).take(k).collect()
                }
                Self::Shared(order) => order.iter().copied().filter(is_free).take(k).collect(),
                Self::Candidates(candidates) => {
                    candidates.items[held.users[place] as usize].iter().copied().filter(is_free).take(k).collect()
                }
                Self::World(world) => {
                    let mut scores = world.rewards_of(held.users[place]).into_owned();
                    masked.iter().for_each(|&item| scores[item as usize] = f32::NEG_INFINITY);
                    first(&scores, k)
                }
                Self::Policy(_) => Vec::new(),
            })
        };
        (0..held.users.len()).into_par_iter().map(rank).collect()
    }
}

/// Whether what `label` names is for these users and items.
fn fits(label: &str, found: (usize, usize), (users, items): (usize, usize)) -> Result<()> {
    ensure!(
        found == (users, items),
        "{label} ranks {} items for {} users, but there are {items} items and {users} users\nhelp: make both from one ingest stage",
        found.1,
        found.0
    );
    Ok(())
}

/// The first items by a policy's scores, in the state after the user's history.
fn of_policy(
    policy: &Named<PolicyFile>,
    held: &HeldOut,
    &Task { users, items, k, exclude }: &Task,
    bar: &Bar,
    cx: &Context,
) -> Result<Vec<Vec<u32>>> {
    let network = policy_io::load(&policy.value.0)?;
    let known = (network.config().users, network.config().items);
    fits(&policy_label(policy), known, (users, items))?;
    let horizon = policy.value.origin()?.horizon;
    let window = network.config().window;
    let batch = (SCORES / items.max(1)).clamp(1, BATCH);
    let of_batch = |first_user: usize| -> Result<Vec<Vec<u32>>> {
        cx.check_cancelled()?;
        let places = first_user..held.users.len().min(first_user + batch);
        let mut observation = Observation { masking: exclude, ..Observation::unmasked(window) };
        for place in places.clone() {
            let history = &held.history[place];
            // A session that is as long as any it learned from is at its end.
            let from = history.items.len().saturating_sub(horizon.saturating_sub(1));
            let (shown, ratings) = (&history.items[from..], &history.ratings[from..]);
            observation.push(held.users[place], shown, ratings, horizon, items as u32);
            observation.mask_also(&held.masked[place]);
        }
        let scores = scores(network.as_ref(), &observation)?;
        bar.inc(places.len() as u64);
        Ok(scores.chunks_exact(items).map(|scores| first(scores, k)).collect())
    };
    let starts: Vec<usize> = (0..held.users.len()).step_by(batch).collect();
    Ok(starts.into_par_iter().map(of_batch).collect::<Result<Vec<_>>>()?.concat())
}

fn scores(network: &dyn PolicyNetwork, observation: &Observation) -> Result<Vec<f32>> {
    let logits = network.logits(&states(network, observation)?)?;
    logits.flatten_all()?.to_vec1::<f32>().context("the scores of a policy are not f32")
}

fn first(scores: &[f32], k: usize) -> Vec<u32> {
    top_items(scores, k).into_iter().map(|(item, _)| item).collect()
}
