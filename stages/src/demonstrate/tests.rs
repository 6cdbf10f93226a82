//! The stage as a whole, on a toy model and on models that fail.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::AtomicI64;

use anyhow::bail;
use pipeline::{Artifact as _, Interrupted};

use super::*;
use crate::artifact::QuitRules;
use crate::demonstrate::agent::{Agent, RoleSettings};
use crate::env::cluster_world;
use crate::features::Declared;
use crate::llm::gguf::toy;
use crate::llm::{
    Answer, ChoiceRequest, CompletionRequest, Conversation, ConversationFactory, GgufConfig, LlmConfig, ParsedChoice,
    Score,
};
use crate::prompting::{Aggregate, Examples, LogHistory, Prompts};

pub(super) const USERS: usize = 5;
pub(super) const ITEMS: usize = 12;

/// Four clusters of three items, a window of two, eight turns.
pub(super) fn inputs() -> Inputs {
    let world = cluster_world(&[5.0, 4.0, 3.0, 2.0], 3, 2, 8, USERS);
    let items = Items {
        id: (0..ITEMS).map(|item| item.to_string()).collect(),
        title: (0..ITEMS).map(|item| format!("The {}", "over inner thin".repeat(1 + item % 3))).collect(),
        year: (0..ITEMS).map(|item| Some(1990 + item as i32)).collect(),
        genres: vec![vec![]; ITEMS],
        ..Items::default()
    };
    let train = Interactions {
        user: vec![0, 0, 0, 1, 2, 2],
        item: vec![1, 5, 9, 3, 0, 11],
        rating: vec![3.0, 5.0, 4.0, 2.0, 5.0, 5.0],
        timestamp: vec![1, 2, 3, 4, 5, 5],
    };
    let list = |user: usize| (0..ITEMS).map(|rank| ((rank * 5 + user) % ITEMS) as u32).collect();
    let candidates = Candidates {
        items: (0..USERS).map(list).collect(),
        scores: vec![vec![0.0; ITEMS]; USERS],
        filter_quit_items: false,
    };
    Inputs { world, items, train, candidates, memories: None, calls: None, model: None, adapter: None }
}

pub(super) fn stage() -> Demonstrate {
    let llm = LlmConfig::Gguf(GgufConfig { asset: AssetName("toy".into()), score: Score::Pmi });
    Demonstrate {
        llm,
        users: 4,
        seed: 1,
        n_candidates: 4,
        n_liked: 2,
        strategies: vec![],
        aggregate: Aggregate::default(),
        candidate_orders: 1,
        log_history: LogHistory::default(),
        examples: Examples::default(),
        history_length: 2,
        item_noun: "thing".into(),
        instructions: None,
        prompts: Prompts::default(),
        item_features: Declared::new(),
        agent: Agent::default(),
        actor: Actor::default(),
        roles: RoleSettings::default(),
        embedder: None,
        min_valid_rate: 0.5,
    }
}

/// A model that stops the run at its `left`-th question, or never where that is negative.
struct Breaking<'a> {
    inner: &'a dyn Llm,
    left: AtomicI64,
}

struct BreakingConversation<'a>(Box<dyn Conversation + 'a>, &'a AtomicI64);

impl Llm for Breaking<'_> {
    fn identity(&self) -> String {
        self.inner.identity()
    }
    fn max_concurrency(&self) -> Option<usize> {
        None
    }
    fn conversations<'a>(&'a self, opening: &str) -> Result<ConversationFactory<'a>> {
        let conversations = self.inner.conversations(opening)?;
        Ok(Box::new(move || Box::new(BreakingConversation(conversations(), &self.left))))
    }
    fn references(&self, request: &ChoiceRequest) -> Vec<ChoiceRequest> {
        self.inner.references(request)
    }
    fn parse_choice(&self, request: &ChoiceRequest, answer: &str, references: &[String]) -> Result<ParsedChoice> {
        self.inner.parse_choice(request, answer, references)
    }
    fn option_logprobs(&self, request: &ChoiceRequest, answer: &str) -> Result<Option<Vec<f64>>> {
        self.inner.option_logprobs(request, answer)
    }
    fn completion_text(&self, answer: &str) -> Result<String> {
        self.inner.completion_text(answer)
    }
}

impl Conversation for BreakingConversation<'_> {
    fn choose(&mut self, request: &ChoiceRequest) -> Result<Answer> {
        if self.1.fetch_sub(1, Ordering::Relaxed) == 0 {
            return Err(Interrupted.into());
        }
        self.0.choose(request)
    }
    fn complete(&mut self, writing: &CompletionRequest) -> Result<Answer> {
        if self.1.fetch_sub(1, Ordering::Relaxed) == 0 {
            return Err(Interrupted.into());
        }
        self.0.complete(writing)
    }
}

/// Plays in `folder` until the `stop`-th question; the bytes of the artifacts.
fn played(folder: &Path, threads: usize, stop: i64) -> Result<[Vec<u8>; 4]> {
    played_by(&stage(), folder, threads, stop)
}

fn played_by(stage: &Demonstrate, folder: &Path, threads: usize, stop: i64) -> Result<[Vec<u8>; 4]> {
    let model = folder.join("toy.gguf");
    toy::write_toy(&model)?;
    let mut cx = Context::detached(folder);
    cx.add_asset("toy", &model);
    let llm = stage.llm.open(&cx, vec![], None)?;
    let llm = Breaking { inner: &*llm, left: AtomicI64::new(stop) };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    let outputs = pool.install(|| stage.demonstrate(&llm, &inputs(), &cx))?;
    let file = folder.join("written");
    let bytes = |write: &dyn Fn(&Path) -> Result<()>| -> Result<Vec<u8>> {
        write(&file)?;
        let bytes = std::fs::read(&file)?;
        std::fs::remove_file(&file)?;
        Ok(bytes)
    };
    Ok([
        bytes(&|path| outputs.demonstrations.write(path))?,
        bytes(&|path| outputs.calls.write(path))?,
        bytes(&|path| outputs.memories.write(path))?,
        bytes(&|path| outputs.llm_usage.write(path))?,
    ])
}

#[test]
fn equal_bytes_on_any_thread_count_and_after_a_stop_at_any_call() {
    let whole = tempfile::tempdir().unwrap();
    let expected = played(whole.path(), 1, -1).unwrap();
    assert_eq!(played(whole.path(), 2, 0).unwrap(), expected, "a second run asks nothing");
    let other = tempfile::tempdir().unwrap();
    assert!(played(other.path(), 2, -1).unwrap() == expected, "two threads");
    for (threads, stop) in [(1, 0), (1, 1), (1, 9), (1, 17), (2, 3), (2, 12), (2, 20)] {
        let folder = tempfile::tempdir().unwrap();
        let stopped = played(folder.path(), threads, stop).unwrap_err();
        assert!(stopped.is::<Interrupted>(), "{stopped:#}");
        assert!(played(folder.path(), 3 - threads, -1).unwrap() == expected, "stopped at call {stop}");
    }
}

#[test]
fn an_agent_with_all_roles_goes_on_from_any_call_to_equal_bytes() {
    let roles = RoleSettings {
        memory_batch_size: 2,
        max_thought_tokens: 6,
        max_reflection_tokens: 6,
        ..RoleSettings::default()
    };
    let stage = Demonstrate { agent: Agent::Full, roles, ..stage() };
    let whole = tempfile::tempdir().unwrap();
    let expected = played_by(&stage, whole.path(), 1, -1).unwrap();
    let other = tempfile::tempdir().unwrap();
    assert!(played_by(&stage, other.path(), 2, -1).unwrap() == expected, "two threads");
    for (threads, stop) in [(1, 0), (1, 1), (2, 2), (1, 7), (2, 40), (1, 61)] {
        let folder = tempfile::tempdir().unwrap();
        let stopped = played_by(&stage, folder.path(), threads, stop).unwrap_err();
        assert!(stopped.is::<Interrupted>(), "{stopped:#}");
        assert!(played_by(&stage, folder.path(), 3 - threads, -1).unwrap() == expected, "stopped at call {stop}");
    }
}

#[test]
fn what_comes_out_tells_the_whole_story() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("toy.gguf");
    toy::write_toy(&model).unwrap();
    let mut cx = Context::detached(folder.path());
    cx.add_asset("toy", &model);
    assert_eq!(stage().assets(), [AssetName("toy".into())]);
    let Outputs { demonstrations, calls, llm_usage, .. } = stage().run(inputs(), &cx).unwrap();
    let users: Vec<u32> = demonstrations.trajectories.iter().map(|trajectory| trajectory.user).collect();
    assert!(users.len() == 4 && users.is_sorted());
    let keys: BTreeSet<&String> = calls.0.iter().map(|call| &call.key).collect();
    assert_eq!(keys.len(), calls.0.len(), "each call once");
    assert_eq!(llm_usage.0.iter().map(|episode| episode.user).collect::<Vec<_>>(), users);
    assert_eq!(llm_usage.0.iter().map(|episode| episode.calls as usize).sum::<usize>(), calls.0.len());
    for trajectory in &demonstrations.trajectories {
        let list = &inputs().candidates.items[trajectory.user as usize];
        let mut shown: Vec<u32> = Vec::new();
        for step in &trajectory.steps {
            let offered: Vec<u32> = list.iter().copied().filter(|item| !shown.contains(item)).take(4).collect();
            assert_eq!(step.candidates, offered);
            let best = step.scores.iter().copied().fold(f32::MIN, f32::max);
            let chosen = offered.iter().position(|&item| item == step.item).unwrap();
            assert!(step.scores.len() == 4 && step.scores[chosen] == best);
            let call = calls.0.iter().find(|call| call.key == step.call).unwrap();
            let request: ChoiceRequest = serde_json::from_str(&call.request).unwrap();
            assert_eq!(request.key(&call.model), call.key, "the key is that of what stands there");
            assert!(request.context.len() <= 2 + 3 && request.options.len() == 4);
            shown.push(step.item);
        }
    }
}

/// A model that names one option on every `every`-th question and else says nothing.
pub(super) struct Mumbling {
    pub every: usize,
    /// The option, counted from 0.
    pub says: &'static str,
}

impl Llm for Mumbling {
    fn identity(&self) -> String {
        format!("mumbling {} of {}", self.says, self.every)
    }
    fn max_concurrency(&self) -> Option<usize> {
        Some(2)
    }
    fn conversations<'a>(&'a self, _: &str) -> Result<ConversationFactory<'a>> {
        Ok(Box::new(|| Box::new(MumblingConversation { every: self.every, says: self.says, asked: 0 })))
    }
    fn references(&self, _: &ChoiceRequest) -> Vec<ChoiceRequest> {
        vec![]
    }
    fn parse_choice(&self, _: &ChoiceRequest, answer: &str, _: &[String]) -> Result<ParsedChoice> {
        Ok(ParsedChoice { index: answer.parse().ok(), scores: vec![] })
    }
    fn completion_text(&self, answer: &str) -> Result<String> {
        Ok(answer.to_owned())
    }
}

struct MumblingConversation {
    every: usize,
    says: &'static str,
    asked: usize,
}

impl Conversation for MumblingConversation {
    fn choose(&mut self, _: &ChoiceRequest) -> Result<Answer> {
        self.asked += 1;
        let text = if self.asked.is_multiple_of(self.every) { self.says } else { "hm" };
        Ok(Answer { text: text.into(), tokens: 1 })
    }
    fn complete(&mut self, _: &CompletionRequest) -> Result<Answer> {
        bail!("asked to write")
    }
}

#[test]
fn silence_falls_back_on_the_retriever_until_it_is_too_much() {
    let mut inputs = inputs();
    inputs.world.rules = QuitRules { distance_threshold: None, ..inputs.world.rules };
    let folder = tempfile::tempdir().unwrap();
    let play = |every| stage().demonstrate(&Mumbling { every, says: "1" }, &inputs, &Context::detached(folder.path()));
    let demonstrations = play(2).unwrap().demonstrations;
    for (_, turn, step) in demonstrations.steps() {
        assert_eq!(step.item, step.candidates[turn % 2]);
    }
    let error = play(3).err().unwrap().to_string();
    assert!(
        error.starts_with("24 of 32 answers name no item that may be shown; the first of them is: hm\n"),
        "{error}"
    );
}

/// A model that refuses one user's questions.
struct Refusing;

impl Llm for Refusing {
    fn identity(&self) -> String {
        "refusing".into()
    }
    fn max_concurrency(&self) -> Option<usize> {
        None
    }
    fn conversations<'a>(&'a self, _: &str) -> Result<ConversationFactory<'a>> {
        Ok(Box::new(|| Box::new(Refusing)))
    }
    fn references(&self, _: &ChoiceRequest) -> Vec<ChoiceRequest> {
        vec![]
    }
    fn parse_choice(&self, _: &ChoiceRequest, _: &str, _: &[String]) -> Result<ParsedChoice> {
        Ok(ParsedChoice { index: Some(0), scores: vec![] })
    }
    fn completion_text(&self, answer: &str) -> Result<String> {
        Ok(answer.to_owned())
    }
}

impl Conversation for Refusing {
    fn choose(&mut self, request: &ChoiceRequest) -> Result<Answer> {
        if request.options[0].ends_with("(1992)") {
            bail!("no");
        }
        Ok(Answer { text: "0".into(), tokens: 0 })
    }
    fn complete(&mut self, _: &CompletionRequest) -> Result<Answer> {
        bail!("asked to write")
    }
}

#[test]
fn an_error_names_the_user() {
    let folder = tempfile::tempdir().unwrap();
    let error = stage().demonstrate(&Refusing, &inputs(), &Context::detached(folder.path())).err().unwrap();
    assert!(format!("{error:#}").starts_with("the episode of user ") && format!("{error:#}").ends_with(": no"));
}

#[test]
fn inputs_that_do_not_belong_together_are_refused() {
    let refused = |spoil: fn(&mut Inputs, &mut Demonstrate), message: &str| {
        let (mut inputs, mut stage) = (inputs(), stage());
        spoil(&mut inputs, &mut stage);
        let error = stage.check_inputs(&inputs).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    };
    refused(|inputs, _| inputs.items.id.truncate(3), "the catalogue at `items` has 3 items, the world 12\nhelp: ");
    refused(|inputs, _| inputs.candidates.items.truncate(3), "the candidates have 3 users, the world has 5");
    refused(|inputs, _| inputs.candidates.items[0][0] = 12, "the candidates hold an item");
    refused(|inputs, _| inputs.train.user[0] = 5, "row 0 of the log at `train` is of user 5");
    refused(|inputs, _| inputs.train = Interactions::default(), "the training log is empty");
    refused(|_, stage| stage.users = 6, "help: lower `users`");
}

#[test]
fn an_actor_that_rates_asks_once_an_item_and_shows_the_best_to_everybody() {
    let rating = |weight: f64| Actor::Rate(CatalogueRating { weight, ..CatalogueRating::default() });
    let stage = Demonstrate { actor: rating(1.0), ..stage() };
    let folder = tempfile::tempdir().unwrap();
    let expected = played_by(&stage, folder.path(), 1, -1).unwrap();
    assert!(played_by(&stage, folder.path(), 2, 0).unwrap() == expected, "a second run asks nothing, on two threads");
    let more = Demonstrate { users: 5, ..stage.clone() };
    assert!(played_by(&more, folder.path(), 1, 0).is_ok(), "nor do more users");

    let mut cx = Context::detached(folder.path());
    cx.add_asset("toy", &folder.path().join("toy.gguf"));
    let mut inputs = inputs();
    inputs.world.rules = QuitRules { distance_threshold: None, ..inputs.world.rules };
    let Outputs { demonstrations, calls, llm_usage, .. } = stage.run(inputs, &cx).unwrap();
    assert_eq!(calls.0.len(), 3 * ITEMS, "three contrasts, whatever the number of turns");
    assert_eq!(llm_usage.0.iter().map(|usage| usage.calls).collect::<Vec<_>>(), [36, 0, 0, 0]);
    let shown = |trajectory: &crate::artifact::Trajectory| -> Vec<u32> {
        trajectory.steps.iter().map(|step| step.item).collect()
    };
    let first = shown(&demonstrations.trajectories[0]);
    assert_eq!(first.len(), 8, "whatever the retriever lists");
    for trajectory in &demonstrations.trajectories {
        assert_eq!(shown(trajectory), first);
        for step in &trajectory.steps {
            assert!(step.candidates[0] == step.item && step.scores.is_sorted_by(|a, b| a >= b), "{step:?}");
            let call = calls.0.iter().find(|call| call.key == step.call).unwrap();
            assert!(call.request.contains(&format!("({})", 1990 + step.item)), "its own rating: {}", call.request);
        }
    }
    let best: Vec<f32> = demonstrations.trajectories[0].steps.iter().map(|step| step.scores[0]).collect();
    assert!(best.is_sorted_by(|a, b| a >= b), "the best first: {best:?}");
}

#[test]
fn without_any_weight_a_rating_is_the_retrievers_order() {
    let rating = CatalogueRating { weight: 0.0, ..CatalogueRating::default() };
    let stage = Demonstrate { actor: Actor::Rate(rating), ..stage() };
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("toy.gguf");
    toy::write_toy(&model).unwrap();
    let mut cx = Context::detached(folder.path());
    cx.add_asset("toy", &model);
    let mut inputs = inputs();
    inputs.world.rules = QuitRules { distance_threshold: None, ..inputs.world.rules };
    let lists = inputs.candidates.items.clone();
    inputs.candidates.scores = vec![(0..ITEMS).map(|rank| -(rank as f32)).collect(); USERS];
    for trajectory in stage.run(inputs, &cx).unwrap().demonstrations.trajectories {
        let shown: Vec<u32> = trajectory.steps.iter().map(|step| step.item).collect();
        assert_eq!(shown, lists[trajectory.user as usize][..8]);
    }
}
