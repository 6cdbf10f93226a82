//! `recycle`: better demonstrations out of demonstrations, after Reflection-Tuning (arXiv 2310.11716) and its selective form (2402.10110).
//!
//! The steps of each episode are taken in order. At each one a revision is proposed: another of its recorded candidates. The episode
//! with the revision is played again in the world `model`, because both the rewards and the turn at which the user leaves may change: the
//! recorded items follow as long as the user stays. A gate accepts the revision or keeps what was there. The next step
//! is that of the episode as it is then.
//!
//! - `grounded`: the candidate with the highest J(c) = R̂(episode with c) + weight · s(c), where s is the recorded score; no model is asked.
//! - `llm`: a language model criticises the step by criteria and chooses again.
//! - `random`: another candidate, drawn; at the places of the accepted revisions of another stage, where these are connected: the control.
//!
//! The gate `world` accepts where mean − d · sd of ΔR̂ over the gate worlds is above 0. Stated gains add up: each is measured on the episode
//! that the revisions before it left. What the revisions gain in `model` and in the gate worlds is no evidence, because they were chosen
//! there: evaluate in a world that neither saw. The engine refuses a policy that descends from the world that evaluates it.
//!
//! Ours, not the papers': revisions of items instead of texts, the gate `world`, the kind `grounded`. Not here: rewriting prompts,
//! playing on where the recorded items run out.

mod critique;
mod difficulty;
mod gates;
mod played;
mod prompts;
mod revise;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use pipeline::checkpointing::ValueStore;
use pipeline::{AssetName, Context, Many, Requirement, Stage};
use rayon::prelude::*;

use crate::artifact::{Adapter, Call, Calls, Demonstrations, Origin, Revisions, Trajectory, World};
use crate::llm::{self, CachedLlm, Llm, LlmConfig, RecordedCall, Score};
pub use critique::Critique;
use played::{Played, check_known};
use prompts::RecordedPrompts;
use revise::{Recycled, Reviser};
pub use settings::{Gate, Grounded, Random, Recycle, Revise};

pipeline::ports! {
    /// The episodes, the world in which they are played again, and what gates revisions.
    pub struct Inputs {
        /// The recorded episodes.
        demonstrations: Demonstrations,
        /// The world in which revised episodes are played again, and by which `grounded` chooses: a training world, never the evaluation
        /// world.
        model: World,
        /// Worlds whose gains are stated and gate the revisions, such as the same model fitted with other seeds; never the evaluation world.
        gates: Many<World>,
        /// The calls behind the demonstrations, of which the prompts are read; for a language model only.
        prompts: Option<Calls>,
        /// The revisions whose accepted places `random` revises.
        revisions: Option<Revisions>,
        /// Recorded calls from which `llm: { replay: {} }` answers; none when not connected.
        calls: Option<Calls>,
        /// What an embedded model learned beside its weights; none when not connected.
        adapter: Option<Adapter>,
    }
}

pipeline::ports! {
    /// The recycled episodes, every proposed revision, and the calls behind both.
    pub struct Outputs {
        /// The episodes in the same order. An episode without an accepted revision is as it was.
        demonstrations: Demonstrations,
        /// Every proposed revision.
        revisions: Revisions,
        /// The calls behind the steps, those at `prompts` included.
        calls: Calls,
    }
}

impl Stage for Recycle {
    const KIND: &'static str = "recycle";
    /// 1: first.
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "revise demonstrations step by step: a grounded choice or a language model's second thought, accepted by a gate";
    const NOT_IN_KEY: &'static [&'static str] = llm::NOT_IN_KEY;
    const ADDED_PORTS: &'static [&'static str] = &["adapter"];
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn local_only(&self) -> bool {
        self.llm.as_ref().is_some_and(LlmConfig::asks_server)
    }

    fn assets(&self) -> Vec<AssetName> {
        self.llm.as_ref().and_then(LlmConfig::asset).into_iter().collect()
    }

    fn check(&self) -> Result<(), (String, String)> {
        let wrong = |path: &str, wanted: &str| Err((path.to_owned(), wanted.to_owned()));
        let amount = |number: f64| number.is_finite() && number >= 0.0;
        match &self.revise {
            Revise::Grounded(Grounded { weight, .. }) if !amount(*weight) => {
                return wrong("revise.grounded.weight", "a number from 0");
            }
            Revise::Grounded(Grounded { min_gain, .. }) if !amount(*min_gain) => {
                return wrong("revise.grounded.min_gain", "a number from 0");
            }
            Revise::Random(Random { share }) if !(0.0..=1.0).contains(share) => {
                return wrong("revise.random.share", "a probability lies between 0 and 1");
            }
            Revise::Llm(critique) => {
                critique.check().map_err(|(path, message)| (format!("revise.llm.{path}"), message))?;
            }
            Revise::Grounded(_) | Revise::Random(_) => {}
        }
        if !amount(self.deviations) {
            return wrong("deviations", "a number from 0");
        }
        if self.max_per_episode == Some(0) {
            return wrong("max_per_episode", "at least one revision; leave it out for no limit");
        }
        if self.item_noun.trim().is_empty() {
            return wrong("item_noun", "a word for what is recommended, such as `movie`");
        }
        match &self.llm {
            None if self.asks() => wrong("llm", "a language model: `revise: { llm: {} }` and `gate: ifd` ask one"),
            Some(_) if !self.asks() => wrong("llm", "no language model: neither `revise` nor `gate` asks one"),
            Some(llm) if self.gate == Gate::Ifd && !scores_by_pmi(llm) => wrong(
                "llm",
                "a model that scores options by `pmi`: `gguf`, or `replay` of one; the gate `ifd` reads the difficulty from that score",
            ),
            Some(llm) => llm.check().map_err(|(path, message)| (format!("llm.{path}"), message)),
            None => Ok(()),
        }
    }

    fn requirements(&self) -> Vec<Requirement> {
        let asks = self.asks();
        let prompts = Requirement {
            setting: if self.gate == Gate::Ifd { "gate" } else { "revise" },
            port: "prompts",
            connected: asks,
            why: match asks {
                true => "the language model reads what it was told at each step".to_owned(),
                false => "no language model is asked, so no prompt is read".to_owned(),
            },
            help: "connect the `calls` of the stage whose `demonstrations` are connected, or leave the input out where no model is asked",
        };
        let gates = (self.gate == Gate::World).then(|| Requirement {
            setting: "gate",
            port: "gates",
            connected: true,
            why: "the gate `world` accepts by the gains in gate worlds".to_owned(),
            help: "connect worlds fitted with other seeds, never the evaluation world, or set another gate",
        });
        let revisions = (!matches!(self.revise, Revise::Random(_))).then(|| Requirement {
            setting: "revise",
            port: "revisions",
            connected: false,
            why: "only `random` revises at the places of other revisions".to_owned(),
            help: "leave the input out, or set `revise: { random: {} }`",
        });
        let idle = |port| Requirement {
            setting: "llm",
            port,
            connected: false,
            why: "no language model is asked".to_owned(),
            help: "leave the input out",
        };
        let of_model = self.llm.as_ref().map_or_else(|| ["calls", "adapter"].map(idle).into(), LlmConfig::requirements);
        [Some(prompts), gates, revisions].into_iter().flatten().chain(of_model).collect()
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let recorded = RecordedCall::all_of(inputs.calls.as_ref());
        let llm = self.llm.as_ref().map(|llm| llm.open(cx, recorded, inputs.adapter.as_ref())).transpose()?;
        self.recycle(llm.as_deref(), &inputs, cx)
    }
}

/// Whether the scores of options are pointwise mutual information.
fn scores_by_pmi(llm: &LlmConfig) -> bool {
    match llm {
        LlmConfig::Gguf(config) => config.score == Score::Pmi,
        LlmConfig::Replay(config) => config.score == Score::Pmi,
        LlmConfig::Openai(_) => false,
    }
}

impl Recycle {
    /// Whether a language model is asked.
    fn asks(&self) -> bool {
        self.gate == Gate::Ifd || matches!(self.revise, Revise::Llm(_))
    }

    fn recycle(&self, llm: Option<&dyn Llm>, inputs: &Inputs, cx: &Context) -> Result<Outputs> {
        let Inputs { demonstrations, model: world, .. } = inputs;
        check_known(demonstrations, world, "the world")?;
        let mut gates = Vec::new();
        for gate in &inputs.gates {
            check_known(demonstrations, &gate.value, &format!("the gate world `{}`", gate.name))?;
            gates.push(&gate.value);
        }
        ensure!(
            !demonstrations.trajectories.is_empty(),
            "no episode to recycle\nhelp: look at the connected `demonstrations`"
        );
        if self.gate == Gate::World && gates.len() == 1 {
            cx.warn("one gate world has no spread: the lower bound of a gain is the gain itself");
        }
        if gates.iter().any(|gate| gate.rewards_digest() == world.rewards_digest()) {
            cx.warn("a gate world has the rewards of the world in which revisions are chosen, so it confirms them");
        }
        warn_of_other_rewards(demonstrations, world, cx)?;
        let prompts = RecordedPrompts::of(inputs.prompts.as_ref(), demonstrations);
        ensure!(
            !self.asks() || !prompts.is_empty(),
            "no call at `prompts` is the choice behind a step\nhelp: connect the `calls` of the stage whose `demonstrations` are connected, \
             whose model chooses among candidates"
        );
        let places = inputs.revisions.as_ref().map(accepted_places);
        let start = Instant::now();
        let cache = llm.map(|llm| anyhow::Ok(CachedLlm::new(llm, ValueStore::open(cx.calls())?))).transpose()?;
        let conversations = llm.map(|llm| llm.conversations(prompts.opening())).transpose()?;
        let asked = cache.as_ref().zip(conversations.as_ref());
        let reviser = Reviser { stage: self, world, gates: &gates, prompts: &prompts, places: places.as_ref() };
        let bar = cx.bar("episodes", Some(demonstrations.trajectories.len() as u64), "episodes");
        let one = |(number, recorded): (usize, &Trajectory)| -> Result<Recycled> {
            cx.check_cancelled()?;
            let found = reviser.episode(number, recorded, asked);
            bar.inc(1);
            found.with_context(|| format!("episode {number} of user {}", recorded.user))
        };
        let all = || {
            let episodes = demonstrations.trajectories.par_iter().enumerate().with_max_len(1);
            episodes.map(one).collect::<Vec<_>>()
        };
        let pool = cache.as_ref().map(CachedLlm::pool).transpose()?.flatten();
        let results = pool.as_ref().map_or_else(all, |pool| pool.install(all));
        let recycled: Vec<Recycled> = results.into_iter().collect::<Result<_>>()?;
        if let (Some(cache), Some(config)) = (&cache, &self.llm) {
            cache.note_calls(!config.replays(), start, cx);
        }
        if let Some(llm) = llm {
            llm.spending()?.into_iter().for_each(|spent| cx.note("spent", spent));
        }
        let calls = calls(inputs.prompts.as_ref(), recycled.iter().flat_map(|one| &one.calls));
        let revisions = Revisions(recycled.iter().flat_map(|one| one.revisions.iter().cloned()).collect());
        note(&revisions, &recycled, gates.len(), cx);
        let trajectories = recycled.into_iter().map(|one| one.trajectory).collect();
        let mut demonstrations =
            Demonstrations { trajectories, searched_in: inputs.demonstrations.searched_in.clone() };
        if revisions.0.iter().any(|revision| revision.accepted) {
            // What chose and what gated is known to whoever shows or copies the episodes.
            if matches!(self.revise, Revise::Grounded(_)) {
                demonstrations = demonstrations.searched(Self::KIND, world);
            }
            for gate in gates.iter().filter(|_| self.gate == Gate::World) {
                let mut origin = Origin::of(Self::KIND, gate);
                if origin.distances_digest == world.distances_digest() {
                    // Of distances that both have it knows no more than the world in which the episodes are played.
                    origin.distances = Some(world.distances.clone());
                }
                if !demonstrations.searched_in.contains(&origin) {
                    demonstrations.searched_in.push(origin);
                }
            }
        }
        Ok(Outputs { demonstrations, revisions, calls })
    }
}

/// Revised episodes have the rewards of the world in which they are played again; the others keep theirs.
fn warn_of_other_rewards(demonstrations: &Demonstrations, world: &World, cx: &Context) -> Result<()> {
    let mut others = 0;
    for episode in &demonstrations.trajectories {
        let items: Vec<u32> = episode.steps.iter().map(|step| step.item).collect();
        let played = Played::of(world, episode.user, &items)?;
        others += usize::from(!played.rewards.iter().eq(episode.steps.iter().map(|step| &step.reward)));
    }
    if others > 0 {
        cx.warn(format!(
            "{others} of {} episodes were recorded with other rewards than this world gives; where one is revised, all its rewards are this world's",
            demonstrations.trajectories.len()
        ));
    }
    Ok(())
}

fn accepted_places(revisions: &Revisions) -> BTreeSet<(u32, u32)> {
    let accepted = revisions.0.iter().filter(|revision| revision.accepted);
    accepted.map(|revision| (revision.trajectory, revision.step)).collect()
}

/// The recorded calls, then the new ones, each once.
fn calls<'a>(recorded: Option<&Calls>, new: impl Iterator<Item = &'a Arc<Call>>) -> Calls {
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let recorded = recorded.into_iter().flat_map(|calls| &calls.0);
    let all = recorded.chain(new.map(|call| &**call));
    Calls(all.filter(|call| seen.insert(call.key.clone())).cloned().collect())
}

fn note(revisions: &Revisions, recycled: &[Recycled], gates: usize, cx: &Context) {
    let accepted = || revisions.0.iter().filter(|revision| revision.accepted);
    let (count, proposed) = (accepted().count(), revisions.0.len());
    let steps: usize = recycled.iter().map(|one| one.trajectory.steps.len()).sum();
    cx.note("revisions", format!("{count} accepted of {proposed} proposed, in {steps} steps"));
    let episodes = recycled.len() as f64;
    cx.note(
        "gain of return an episode, where it was chosen",
        format!("{:.3}", total(accepted().map(|r| r.gain)) / episodes),
    );
    if gates > 0 {
        let gain = total(accepted().filter_map(|revision| revision.gate_gain)) / episodes;
        cx.note("gain of return an episode, gate worlds", format!("{gain:.3}"));
    }
    let ran_out = recycled.iter().filter(|one| one.ran_out).count();
    if ran_out > 0 {
        cx.note("revised episodes whose recorded items ran out while the user stayed", ran_out);
    }
}

fn total(gains: impl Iterator<Item = f64>) -> f64 {
    gains.sum()
}
