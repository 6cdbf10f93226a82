//! What a run would do, found out without doing it.

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::Project;
use super::project::edges;
use crate::checkpointing::ResumePoint;
use crate::key::KeyMaterial;
use crate::store::{Entry, Lookup};
use crate::{MemoryNeed, MissReason, Sizes};

/// What would become of a node.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// Its result is in the store.
    Hit { key: String },
    /// It runs; from `resume` on, where a broken-off run left work.
    Run { key: String, reason: MissReason, resume: Option<ResumePoint> },
    /// What it reads is not known before `on` has run. It runs for `reason` of its own, or, where there is none, when those
    /// come out with another content.
    After { on: Vec<String>, reason: Option<MissReason> },
    /// An asset has to be fetched before its key is known.
    Fetch { asset: String },
}

/// The verdicts by node, and what is known of each node's key.
#[derive(Default)]
pub(crate) struct Plan {
    pub verdicts: BTreeMap<usize, Verdict>,
    pub materials: BTreeMap<usize, KeyMaterial>,
    /// For nodes whose key is not known yet: what it would be if what they wait for gave the content of last time.
    pub expected: BTreeMap<usize, KeyMaterial>,
    pub hits: BTreeMap<usize, Entry>,
    /// The sizes behind each output that was asked for: many nodes read one world, and each asks its needs in turn.
    sizes: RefCell<BTreeMap<(usize, &'static str), Sizes>>,
    /// The last result of each node, whichever its key is.
    last: OnceCell<Vec<Option<Entry>>>,
    /// The last results of the stages of all experiments.
    all: OnceCell<Vec<Entry>>,
}

impl Plan {
    /// Whether a run would find everything done.
    pub fn is_done(&self) -> bool {
        self.hits.len() == self.verdicts.len()
    }

    /// The node upstream where the need to run begins, for a node that only waits for others.
    pub fn first_cause(&self, project: &Project, index: usize) -> Option<usize> {
        let waits = |at: &usize| matches!(self.verdicts.get(at), Some(Verdict::After { reason: None, .. }));
        let mut at = Some(index).filter(waits)?;
        // Needs come before what needs them, so this ends.
        while waits(&at) {
            at = project.needs(at).into_iter().find(|need| !self.hits.contains_key(need))?;
        }
        Some(at)
    }
}

impl Plan {
    /// The node upstream whose change gave a node that runs another input, although it is a hit itself, and what differs from
    /// the last time that it went by its name.
    pub fn changed_upstream(&self, project: &Project, index: usize) -> anyhow::Result<Option<(usize, MissReason)>> {
        let mut found = None;
        let mut at = match self.verdicts.get(&index) {
            Some(Verdict::Run { reason: MissReason::Input { .. }, .. }) => index,
            _ => return Ok(None),
        };
        // Needs come before what needs them, so this ends.
        'up: loop {
            for need in project.needs(at) {
                let (Some(entry), Some(material)) = (self.hits.get(&need), self.materials.get(&need)) else { continue };
                let last = project.store.latest(&project.experiment.name, &project.node(need).id)?;
                if last.is_some_and(|last| last.key != entry.key) {
                    let reason = project.reason(need, material, &Lookup::Nothing)?;
                    let goes_on = matches!(reason, MissReason::Input { .. });
                    found = Some((need, reason));
                    at = need;
                    if goes_on {
                        continue 'up;
                    }
                }
                if found.is_some() {
                    return Ok(found);
                }
            }
            return Ok(found);
        }
    }
}

impl Plan {
    /// What a node that has to run would come to, where its stage can say.
    pub fn estimate(&self, project: &Project, index: usize) -> Option<String> {
        if self.hits.contains_key(&index) {
            return None;
        }
        let made = |port: &str| {
            let edge = edges(project.node(index), port).first()?;
            let output = self.hits.get(&edge.node)?.output(edge.port)?;
            Some(project.store.object(&output.digest))
        };
        // A plan does not fail on what is only said beside it; the run will say what is wrong.
        project.node(index).config.estimate(&made).ok().flatten()
    }
}

impl Plan {
    /// The last result of each node of the experiment, where it has one that can be read.
    pub(super) fn last_entries(&self, project: &Project) -> &[Option<Entry>] {
        let last = |index| match self.hits.get(&index) {
            Some(entry) => Some(entry.clone()),
            None => project.last_entry(index).ok().flatten(),
        };
        self.last.get_or_init(|| (0..project.experiment.nodes.len()).map(last).collect())
    }

    /// The last results of the stages of all experiments of the project.
    pub(super) fn all_entries(&self, project: &Project) -> &[Entry] {
        self.all.get_or_init(|| {
            let all = project.store.all_latest().unwrap_or_default().into_iter().filter_map(|known| known.latest);
            all.filter_map(|latest| project.store.entry(&latest.key).ok().flatten()).collect()
        })
    }
}

/// Whether a stage could need more than `cap`; found out without reading anything, so that a run which needs less need not be
/// planned.
pub(crate) fn may_exceed_memory(project: &Project, chosen: &BTreeSet<usize>, cap: u64) -> bool {
    let blind = Plan::default();
    chosen.iter().any(|&index| blind.memory(project, index).is_some_and(|need| need.total() > cap))
}

impl Plan {
    /// What the tables of a node that has to run need, where its stage can say: from the files that exist, and from the sizes that
    /// stages promise.
    pub fn memory(&self, project: &Project, index: usize) -> Option<MemoryNeed> {
        if self.hits.contains_key(&index) {
            return None;
        }
        project.node(index).config.memory(&self.sizes_of_inputs(project, index))
    }

    pub(super) fn sizes_of_inputs(&self, project: &Project, index: usize) -> Sizes {
        let mut sizes = Sizes::default();
        for (_, edges) in &project.node(index).inputs {
            for edge in edges {
                sizes = sizes.and(self.sizes_behind(project, edge));
            }
        }
        sizes
    }

    fn sizes_behind(&self, project: &Project, edge: &crate::spec::Edge) -> Sizes {
        let output = (edge.node, edge.port);
        if let Some(known) = self.sizes.borrow().get(&output) {
            return known.clone();
        }
        let sizes = self.sizes_found(project, edge);
        self.sizes.borrow_mut().insert(output, sizes.clone());
        sizes
    }

    fn sizes_found(&self, project: &Project, edge: &crate::spec::Edge) -> Sizes {
        let node = project.node(edge.node);
        let port = (node.kind.outputs)().into_iter().find(|port| port.name == edge.port);
        let Some(entry) = self.hits.get(&edge.node) else {
            let sizes = node.config.sizes(&self.sizes_of_inputs(project, edge.node));
            // A table of users says how many there are and nothing of the log beside it, as its file will.
            let own = port.and_then(|port| Some((port.kind, sizes.get(port.kind)?)));
            return own.map_or(sizes, |(kind, count)| Sizes::of(kind, usize::try_from(count).unwrap_or(usize::MAX)));
        };
        let path = entry.output(edge.port).map(|output| project.store.object(&output.digest));
        // What cannot be read is not known; the run will say what is wrong.
        port.zip(path).and_then(|(port, path)| (port.sizes)(&path).ok()).unwrap_or_default()
    }

    /// The largest of the nodes that have to run and may be at work at once, `jobs` at most, where their tables exceed `cap` together:
    /// some of them will wait. With what they need in all.
    pub fn too_much_at_once(&self, project: &Project, jobs: usize, cap: u64) -> Option<(Vec<usize>, u64)> {
        let needs = |&index: &usize| Some((self.memory(project, index)?.total(), index));
        let mut needs: Vec<(u64, usize)> = self.verdicts.keys().filter_map(needs).filter(|need| need.0 > 0).collect();
        needs.sort_by_key(|&(need, index)| (std::cmp::Reverse(need), index));
        let (mut chosen, mut behind, mut sum) = (Vec::new(), Vec::new(), 0_u64);
        for (need, index) in needs {
            if chosen.len() == jobs {
                break;
            }
            let own = project.with_needs(&BTreeSet::from([index]));
            let apart = |(other, theirs): (&usize, &BTreeSet<usize>)| !own.contains(other) && !theirs.contains(&index);
            if chosen.iter().zip(&behind).all(apart) {
                sum = sum.saturating_add(need);
                chosen.push(index);
                behind.push(own);
            }
        }
        chosen.sort_unstable();
        (chosen.len() > 1 && sum > cap).then_some((chosen, sum))
    }
}

/// Plans the nodes of `chosen`, which holds the needs of its members.
pub(crate) fn plan(project: &Project, chosen: &BTreeSet<usize>, forced: &BTreeSet<usize>) -> anyhow::Result<Plan> {
    let mut plan = Plan::default();
    for &index in chosen {
        let verdict = verdict(project, index, forced.contains(&index), &mut plan)?;
        plan.verdicts.insert(index, verdict);
    }
    Ok(plan)
}

fn verdict(project: &Project, index: usize, forced: bool, plan: &mut Plan) -> anyhow::Result<Verdict> {
    let assets = match project.assets.known(project.node(index)) {
        Ok(assets) => assets,
        Err(asset) => return Ok(Verdict::Fetch { asset }),
    };
    let digest = |edge: &crate::spec::Edge| {
        let entry = plan.hits.get(&edge.node);
        entry.and_then(|entry| entry.output(edge.port)).map(|output| output.digest.clone()).unwrap_or_default()
    };
    let mut material = project.material(index, &assets, &digest);
    let on: Vec<_> = project.needs(index).into_iter().filter(|need| !plan.hits.contains_key(need)).collect();
    if !on.is_empty() {
        let on = on.into_iter().map(|need| project.node(need).id.clone()).collect();
        let Some(last) = project.last_entry(index)? else {
            return Ok(Verdict::After { on, reason: Some(MissReason::New) });
        };
        material.assume(&last.material);
        let own = material != last.material;
        let reason = if own { Some(project.reason(index, &material, &Lookup::Nothing)?) } else { None };
        let reason = if forced { Some(MissReason::Forced) } else { reason };
        plan.expected.insert(index, material);
        return Ok(Verdict::After { on, reason });
    }
    let key = material.key();
    let found = project.store.lookup(&key)?;
    let resume = || ResumePoint::in_scratch(&project.store.scratch(&key));
    let verdict = match found {
        _ if forced => Verdict::Run { reason: MissReason::Forced, resume: resume()?, key },
        Lookup::Entry(entry) if entry.made.incomplete => {
            Verdict::Run { reason: MissReason::Incomplete, resume: resume()?, key }
        }
        Lookup::Entry(entry) => {
            plan.hits.insert(index, *entry);
            Verdict::Hit { key }
        }
        found => Verdict::Run { reason: project.reason(index, &material, &found)?, resume: resume()?, key },
    };
    plan.materials.insert(index, material);
    Ok(verdict)
}
