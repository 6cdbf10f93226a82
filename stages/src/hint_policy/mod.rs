//! `hint_policy`: a policy chooses the prompt of each session, such as one of several hints, from what is known of the user's history.
//!
//! State: the mean of the features of the history's items. Action: a prompt of the table. Reward: R(s, a) = NDCG@10(a) − NDCG@10(reference).
//! After Re2LLM (arXiv 2403.16427), stage B, on a table in which every prompt was asked in every session: learning costs no call, and the
//! oracle is known. `algorithm: bandit` is a ridge regression of every prompt's gain; `ppo` is Re2LLM's learner, with γ 0.
//!
//! Every session is tested once by a policy that did not learn from its user: the users are divided into `folds`, or learned from `prompts`
//! and tested on `test`. The best fixed prompt is chosen on the same training sessions. The largest of many noisy
//! numbers leads by luck, so the oracle stands beside the oracle of a shuffled table, and the policy beside one with exchanged states.
//!
//! The chosen hints are written as memories, one a user, which `demonstrate` recalls. Where strategies and not hints are chosen, there
//! are no memories, and `choices` names the strategy of each user.
//!
//! Left out: a policy over hints and reflections that a language model reads, and a reward of several sessions.

mod bandit;
mod oracle;
mod ppo;
mod results;
mod rewards;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use pipeline::{Context, Stage};
use rand::seq::SliceRandom;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::{
    Curves, Hints, ItemVectors, Items, Memories, Memory, Metrics, PromptChoice, PromptChoices, PromptTable,
};
use crate::nn::rng;
use bandit::{Bandit, argmax, folds_by_user};
use ppo::PpoPolicy;
pub use ppo::{HintPolicyPpo, PpoSettings};
use results::{Outcomes, RowNames};
use rewards::{Rewards, Session, prompts_of};
use state::{Standardisation, item_features, state};

const FOLDS: u64 = 0xf01d;
const EXCHANGED: u64 = 0xe8c4;
/// Tables that are shuffled for the oracle by luck.
const SHUFFLES: u64 = 20;
/// With fewer users in a part, a fold says nothing.
const MIN_USERS: usize = 2;

/// `hint_policy`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HintPolicy {
    /// How the policy learns.
    pub algorithm: Algorithm,
    /// Names of the prompts to choose among, beside the reference. By default all prompts with a hint where `hints` is connected, else
    /// all prompts of the table. Rows of a shuffled history are never used.
    pub prompts: Vec<String>,
    /// Name of the prompt against which the reward is measured. By default the strategy to which the hints are added, else the first
    /// prompt of the table.
    pub reference: Option<String>,
    /// Number of parts of the users, at least 2: each part is tested by a policy that learned from the others. Without effect where
    /// `test` is connected.
    pub folds: usize,
    /// Number of resamples of users behind each interval, at least 100.
    pub n_resamples: usize,
    /// Seed of parts, learning and resamples.
    pub seed: u64,
}

impl Default for HintPolicy {
    fn default() -> Self {
        let algorithm = Algorithm::default();
        Self { algorithm, prompts: vec![], reference: None, folds: 5, n_resamples: 2000, seed: 0 }
    }
}

/// How the policy learns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// A ridge regression of the gain of every prompt on the state; its penalty is chosen inside the training sessions. Of a table in
    /// which every prompt was asked it needs no exploration.
    #[default]
    Bandit,
    /// Proximal policy optimisation of one-step episodes, which sees the gain of the drawn prompt alone.
    Ppo(PpoSettings),
}

impl Algorithm {
    fn name(&self) -> &'static str {
        match self {
            Self::Bandit => "bandit",
            Self::Ppo(_) => "ppo",
        }
    }
}

pipeline::ports! {
    /// The table and what is known of its items.
    pub struct Inputs {
        /// The sessions under every prompt.
        prompts: PromptTable,
        /// Sessions to test on, of other users; by default the users of `prompts` are divided.
        test: Option<PromptTable>,
        /// The catalogue, whose genres, years and features describe a history.
        items: Items,
        /// Vectors of the items, which describe a history in the place of the catalogue's columns.
        item_vectors: Option<ItemVectors>,
        /// The hints behind prompts, whose texts become memories.
        hints: Option<Hints>,
    }
}

pipeline::ports! {
    /// What was chosen and what it is worth.
    pub struct Outputs {
        /// The chosen hint of each user, of the user's last session; users for whom no hint was chosen have none.
        memories: Memories,
        /// The chosen prompt of each test session.
        choices: PromptChoices,
        /// NDCG@10 of the policy, the baselines and the oracle, with intervals over users.
        metrics: Metrics,
        /// Of `ppo`, by update and fold: the mean gain of what was drawn, and the entropy.
        curves: Curves,
    }
}

impl Stage for HintPolicy {
    const KIND: &'static str = "hint_policy";
    /// 1: first.
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "learn which prompt, such as a hint, suits which history, and choose one for each user";
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn check(&self) -> Result<(), (String, String)> {
        let wrong = |path: &str, wanted: &str| Err((path.to_owned(), wanted.to_owned()));
        if self.folds < 2 {
            return wrong("folds", "at least 2: one part to learn from and one to test on");
        }
        if self.n_resamples < 100 {
            return wrong("n_resamples", "at least 100: an interval of fewer resamples is itself a matter of luck");
        }
        if self.prompts.iter().enumerate().any(|(place, name)| self.prompts[..place].contains(name)) {
            return wrong("prompts", "each prompt once");
        }
        match &self.algorithm {
            Algorithm::Bandit => Ok(()),
            Algorithm::Ppo(ppo) => ppo.check().map_err(|(path, message)| (format!("algorithm.ppo.{path}"), message)),
        }
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let hints = inputs.hints.as_ref();
        let (wanted, reference) = self.actions(&inputs.prompts, hints)?;
        let train = Rewards::of(&inputs.prompts, &wanted, reference.as_deref())?;
        let test = inputs.test.as_ref().map(|table| {
            let reference = &train.prompts[train.reference];
            Rewards::of(table, &train.prompts, Some(reference))
        });
        let test = test.transpose()?;
        if let Some(vectors) = &inputs.item_vectors {
            vectors.check_items(inputs.items.len())?;
        }
        let both: Vec<&Session> = train.sessions.iter().chain(test.iter().flat_map(|test| &test.sessions)).collect();
        for &item in both.iter().flat_map(|session| &session.history) {
            ensure!(
                (item as usize) < inputs.items.len(),
                "the table names item {item} in a catalogue of {}\nhelp: connect the `items` that the table was made with",
                inputs.items.len()
            );
        }
        let features = item_features(&inputs.items, inputs.item_vectors.as_ref(), &both)?;
        let mut study = Study {
            settings: self,
            features,
            outcomes: Outcomes::default(),
            curves: Curves::default(),
            choices: vec![],
            cx,
        };
        let actions = train.prompts.clone();
        let fixed = study.run(&train, test.as_ref())?;
        study.note(&train, test.as_ref());
        let names = RowNames {
            reference: &actions[train.reference],
            policy: self.algorithm.name(),
            best_fixed: fixed.into_iter().map(|prompt| format!("`{}`", actions[prompt])).collect::<Vec<_>>().join(", "),
        };
        let metrics = study.outcomes.metrics(&names, self.n_resamples, self.seed);
        note_results(&metrics, &names, cx);
        let tested = test.as_ref().unwrap_or(&train);
        study.choices.sort_by_key(|&(row, _)| row);
        let told =
            |prompt: usize| hints.and_then(|hints| hints.told_by(&actions[prompt])).map(|hint| hint.text.as_str());
        let choice = |&(row, prompt): &(usize, usize)| {
            let session = &tested.sessions[row];
            PromptChoice {
                session: session.session,
                user: session.user,
                prompt: actions[prompt].clone(),
                hint: told(prompt).unwrap_or_default().to_owned(),
                ndcg: session.ndcg[prompt] as f32,
                ndcg_reference: session.ndcg[tested.reference] as f32,
                ndcg_oracle: session.ndcg[argmax(&session.ndcg)] as f32,
            }
        };
        let choices = PromptChoices(study.choices.iter().map(choice).collect());
        let curves = study.curves;
        Ok(Outputs { memories: memories(&choices), choices, metrics, curves })
    }
}

impl HintPolicy {
    /// The prompts to choose among and the reference: of a table with hints, by default the prompts that tell one, and the strategy that
    /// they are added to.
    fn actions(&self, table: &PromptTable, hints: Option<&Hints>) -> Result<(Vec<String>, Option<String>)> {
        let Some(hints) = hints else { return Ok((self.prompts.clone(), self.reference.clone())) };
        let all = prompts_of(table);
        let hinted: Vec<String> = all.iter().filter(|prompt| hints.told_by(prompt).is_some()).cloned().collect();
        ensure!(
            !hinted.is_empty(),
            "no prompt of the table tells one of the {} hints\nhelp: connect the hints that `evaluate.prompts` asked with",
            hints.kept().count()
        );
        let plain = |prompt: &&String| hinted[0].starts_with(&format!("{prompt} + ")) && !hinted.contains(prompt);
        let plain = all.iter().find(plain).cloned();
        let wanted = if self.prompts.is_empty() { hinted.clone() } else { self.prompts.clone() };
        Ok((wanted, self.reference.clone().or(plain)))
    }
}

/// The hint of each user's last session, where one was chosen.
fn memories(choices: &PromptChoices) -> Memories {
    let last: BTreeMap<u32, &PromptChoice> = choices.0.iter().map(|choice| (choice.user, choice)).collect();
    let chosen = last.into_values().filter(|choice| !choice.hint.is_empty());
    Memories(
        chosen
            .map(|choice| Memory::Reflection { user: choice.user, total: choice.ndcg, text: choice.hint.clone() })
            .collect(),
    )
}

/// Learns on some sessions and tests on others.
struct Study<'a> {
    settings: &'a HintPolicy,
    /// Of each item.
    features: Vec<Vec<f64>>,
    outcomes: Outcomes,
    curves: Curves,
    /// Test session and chosen prompt.
    choices: Vec<(usize, usize)>,
    cx: &'a Context,
}

impl Study<'_> {
    /// All folds, or the one where test sessions are connected; the best fixed prompts of the folds, each once.
    fn run(&mut self, train: &Rewards, test: Option<&Rewards>) -> Result<Vec<usize>> {
        let settings = self.settings;
        let states = |rewards: &Rewards| -> Vec<Vec<f64>> {
            rewards.sessions.iter().map(|session| state(&self.features, &session.history)).collect()
        };
        let mut fixed = Vec::new();
        let (train_states, test_states) = (states(train), test.map(states));
        let all: Vec<usize> = (0..train.sessions.len()).collect();
        if let (Some(test), Some(test_states)) = (test, &test_states) {
            enough(&train.users(), 1)?;
            let known = train.users();
            let both = test.users().into_iter().find(|user| known.contains(user));
            ensure!(
                both.is_none(),
                "user {} is in both `prompts` and `test`\nhelp: ask disjoint users, or leave `test` out",
                both.unwrap_or_default()
            );
            let tested: Vec<usize> = (0..test.sessions.len()).collect();
            fixed.push(self.fold("test", (train, &train_states, &all), (test, test_states, &tested))?);
        } else {
            let users = train.users();
            enough(&users, settings.folds)?;
            let folds = folds_by_user(&users, settings.folds, &[settings.seed, FOLDS]);
            for fold in 0..settings.folds {
                let part = |inside: bool| all.iter().copied().filter(|&row| (folds[row] == fold) == inside).collect();
                let (learned, tested): (Vec<usize>, Vec<usize>) = (part(false), part(true));
                let name = format!("fold {}", fold + 1);
                fixed.push(self.fold(&name, (train, &train_states, &learned), (train, &train_states, &tested))?);
            }
        }
        let tested = test.unwrap_or(train);
        let rows: Vec<&Session> = self.choices.iter().map(|&(row, _)| &tested.sessions[row]).collect();
        self.outcomes.oracle = oracle::oracle(&rows);
        self.outcomes.luck = oracle::oracle_by_luck(&rows, SHUFFLES, settings.seed);
        fixed.sort_unstable();
        fixed.dedup();
        Ok(fixed)
    }

    /// Learns on the rows of one part, tests on those of another; the best fixed prompt of the former.
    fn fold(
        &mut self,
        name: &str,
        (train, train_states, learned): (&Rewards, &[Vec<f64>], &[usize]),
        (test, test_states, tested): (&Rewards, &[Vec<f64>], &[usize]),
    ) -> Result<usize> {
        let settings = self.settings;
        let gains: Vec<Vec<f64>> = learned.iter().map(|&row| train.gains(row)).collect();
        let users: Vec<u32> = learned.iter().map(|&row| train.sessions[row].user).collect();
        let pick = |states: &[Vec<f64>], rows: &[usize]| rows.iter().map(|&row| states[row].clone()).collect();
        let known: Vec<Vec<f64>> = pick(train_states, learned);
        let asked: Vec<Vec<f64>> = pick(test_states, tested);
        let chosen = self.choose(name, &known, &gains, &users, &asked, true)?;
        // The control: the same with the states of other sessions.
        let exchange = |mut states: Vec<Vec<f64>>, purpose: u64| {
            states.shuffle(&mut rng(&[settings.seed, EXCHANGED, purpose, tested[0] as u64]));
            states
        };
        let exchanged = self.choose(name, &exchange(known, 0), &gains, &users, &exchange(asked, 1), false)?;
        let mean = |action: usize| gains.iter().map(|gains| gains[action]).sum::<f64>();
        let fixed = argmax(&(0..train.actions()).map(mean).collect::<Vec<_>>());
        for ((&row, chosen), exchanged) in tested.iter().zip(chosen).zip(exchanged) {
            let Session { user, ndcg, .. } = &test.sessions[row];
            let outcomes = &mut self.outcomes;
            outcomes.users.push(*user);
            outcomes.reference.push(ndcg[test.reference]);
            outcomes.random.push(ndcg.iter().sum::<f64>() / ndcg.len() as f64);
            outcomes.best_fixed.push(ndcg[fixed]);
            outcomes.policy.push(ndcg[chosen]);
            outcomes.states_exchanged.push(ndcg[exchanged]);
            self.choices.push((row, chosen));
        }
        Ok(fixed)
    }

    /// Learns from states and gains; the prompts for other states.
    fn choose(
        &mut self,
        fold: &str,
        known: &[Vec<f64>],
        gains: &[Vec<f64>],
        users: &[u32],
        asked: &[Vec<f64>],
        told: bool,
    ) -> Result<Vec<usize>> {
        let (seed, cx) = (self.settings.seed, self.cx);
        let scale = Standardisation::of(&known.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let standardised = |states: &[Vec<f64>]| states.iter().map(|state| scale.apply(state)).collect::<Vec<_>>();
        let (known, asked) = (standardised(known), standardised(asked));
        match &self.settings.algorithm {
            Algorithm::Bandit => {
                let bandit = Bandit::fit(&known, gains, users, seed);
                if told {
                    let penalty = bandit.penalty;
                    let kind =
                        if penalty.is_finite() { format!("λ {penalty} a session") } else { "a fixed prompt".into() };
                    cx.note(&format!("{fold} learned"), kind);
                }
                Ok(asked.iter().map(|state| argmax(&bandit.values(state))).collect())
            }
            Algorithm::Ppo(settings) => {
                let curves = told.then_some((&mut self.curves, fold));
                let policy = PpoPolicy::train(settings, &known, gains, seed, curves, &|| cx.check_cancelled())?;
                asked.iter().map(|state| policy.choose(state)).collect()
            }
        }
    }

    /// Notes the size of the study.
    fn note(&self, train: &Rewards, test: Option<&Rewards>) {
        self.cx.note("prompts to choose among", train.actions());
        self.cx.note("sessions tested", self.outcomes.users.len());
        let incomplete = train.incomplete + test.map_or(0, |test| test.incomplete);
        if incomplete > 0 {
            self.cx
                .warn(format!("{incomplete} sessions are left out, because the model did not answer to every prompt"));
        }
    }
}

/// Whether there are users for that many parts.
fn enough(users: &[u32], parts: usize) -> Result<()> {
    let mut distinct = users.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    let wanted = MIN_USERS * parts;
    ensure!(
        distinct.len() >= wanted,
        "{} users with a complete session are too few, wanted {wanted}\nhelp: ask about more users, or lower `folds`",
        distinct.len()
    );
    Ok(())
}

/// Notes the rows that answer the question.
fn note_results(metrics: &Metrics, names: &RowNames, cx: &Context) {
    for (label, policy, metric) in [
        ("NDCG@10 of the reference", names.reference, "ndcg"),
        ("gain of the best fixed prompt", "best fixed", "gain"),
        ("gain of the policy", names.policy, "gain"),
        ("its lead over the best fixed prompt", names.policy, "lead_over_best_fixed"),
        ("gain of the oracle", "oracle", "gain"),
        ("gain of the oracle by luck", "oracle by luck", "gain"),
        ("gain of the oracle beyond luck", "oracle", "gain_corrected"),
    ] {
        if let Some(row) = metrics.rows.iter().find(|row| row.policy == policy && row.metric == metric) {
            cx.note(label, format!("{:.4} [{:.4}, {:.4}]", row.mean, row.low, row.high));
        }
    }
}
