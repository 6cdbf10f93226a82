//! `actor: { search: {} }`: exact against its limits, and a planted case.

use serde_json::{Value, json};

use super::tests::{ITEMS, Mumbling, USERS, inputs as of_choose, stage as choosing};
use super::*;
use crate::artifact::{QuitRules, Trajectory};
use crate::env::cluster_world;
use crate::llm::gguf::toy;
use crate::llm::{
    Answer, ChoiceRequest, CompletionRequest, Conversation, ConversationFactory, FailedCall, ParsedChoice,
};
use agent::ModelSearch;

/// The usual inputs with a world to imagine turns in.
fn inputs(model: World) -> Inputs {
    Inputs { model: Some(model), ..of_choose() }
}

/// A model in which all items are equal.
fn flat() -> World {
    cluster_world(&[7.0], ITEMS, 2, 8, USERS)
}

fn searching(search: Value) -> Demonstrate {
    let search: ModelSearch = serde_json::from_value(search).unwrap();
    Demonstrate { actor: Actor::Search(search), ..choosing() }
}

/// With the toy model, on so many threads.
fn by_toy(stage: &Demonstrate, inputs: &Inputs, threads: usize) -> Outputs {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("toy.gguf");
    toy::write_toy(&model).unwrap();
    let mut cx = Context::detached(folder.path());
    cx.add_asset("toy", &model);
    let llm = stage.llm.open(&cx, vec![], None).unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| stage.demonstrate(&*llm, inputs, &cx)).unwrap()
}

fn keys(outputs: &Outputs) -> Vec<&str> {
    outputs.calls.0.iter().map(|call| call.key.as_str()).collect()
}

/// The steps without their scores, which are another thing for a search.
fn unscored(outputs: &Outputs) -> Vec<Trajectory> {
    let mut trajectories = outputs.demonstrations.trajectories.clone();
    trajectories.iter_mut().flat_map(|played| &mut played.steps).for_each(|step| step.scores.clear());
    trajectories
}

fn return_of(outputs: &Outputs) -> f64 {
    outputs.demonstrations.trajectories.iter().map(Trajectory::total).sum()
}

#[test]
fn one_turn_deep_in_a_flat_world_it_is_the_actor_that_chooses() {
    let chosen = by_toy(&choosing(), &of_choose(), 1);
    for search in [json!({ "width": 1, "depth": 1 }), json!({ "width": 3, "depth": 1, "alpha": 2.5 })] {
        let searched = by_toy(&searching(search), &inputs(flat()), 2);
        assert_eq!(unscored(&searched), unscored(&chosen));
        assert_eq!((keys(&searched), &searched.llm_usage), (keys(&chosen), &chosen.llm_usage), "the same questions");
    }
    // Rewards decide where the prior has no weight, although it is asked for.
    let world = of_choose().world;
    let searched = by_toy(&searching(json!({ "depth": 1, "alpha": 0.0 })), &inputs(world.clone()), 1);
    for (_, _, step) in searched.demonstrations.steps() {
        let reward = |item: u32| world.reward(0, item);
        assert!(step.candidates.iter().all(|&other| reward(other) <= reward(step.item)), "{step:?}");
        assert!(step.candidates.iter().zip(&step.scores).all(|(&item, &score)| score == reward(item)));
    }
    assert_eq!(keys(&searched)[0], keys(&chosen)[0]);
}

#[test]
fn without_a_weight_or_a_language_model_it_is_the_stage_that_asks_none() {
    let model = cluster_world(&[4.0, 5.0, 2.0, 3.0], 3, 2, 8, USERS);
    let alone = Search { users: 4, seed: 1, n_candidates: 4, width: 3, depth: 3, ..Search::default() };
    let folder = tempfile::tempdir().unwrap();
    let Inputs { world, candidates, .. } = of_choose();
    let of_search = search::Inputs { world, candidates, model: model.clone() };
    let alone = alone.run(of_search, &Context::detached(folder.path())).unwrap().demonstrations.trajectories;
    let tree = |prior, alpha| {
        let stage = searching(json!({ "width": 3, "depth": 3, "prior": prior, "alpha": alpha }));
        by_toy(&stage, &inputs(model.clone()), 2)
    };
    let uniform = tree("uniform", 0.0);
    assert_eq!(uniform.demonstrations.trajectories, alone);
    assert_eq!(uniform.demonstrations.searched_worlds(), [model.rewards_digest()]);
    assert!(uniform.calls.0.is_empty() && uniform.llm_usage.0.iter().all(|usage| usage.calls == 0));
    let mut weightless = tree("language_model", 0.0);
    assert!(weightless.calls.0.len() > 20);
    weightless.demonstrations.trajectories.iter_mut().flat_map(|t| &mut t.steps).for_each(|step| step.call.clear());
    assert_eq!(weightless.demonstrations.trajectories, alone);
}

#[test]
fn equal_results_on_any_thread_count_and_calls_in_order_of_use() {
    let (stage, inputs) = (searching(json!({ "width": 2, "depth": 3 })), inputs(of_choose().world));
    let (one, two) = (by_toy(&stage, &inputs, 1), by_toy(&stage, &inputs, 3));
    assert_eq!(one.demonstrations, two.demonstrations);
    assert_eq!((keys(&one), &one.llm_usage), (keys(&two), &two.llm_usage));
    // What is imagined is told as what happened is.
    let imagined = two.calls.0.iter().find(|call| call.request.contains("rating: 5.0 of 5")).unwrap();
    let request: ChoiceRequest = serde_json::from_str(&imagined.request).unwrap();
    assert_eq!(request.options.len(), 4);
    for (_, _, step) in two.demonstrations.steps() {
        let best = step.scores.iter().copied().fold(f32::MIN, f32::max);
        let place = step.candidates.iter().position(|&item| item == step.item).unwrap();
        assert!(step.scores[place] == best && step.log_confidence().is_finite());
        assert_eq!(step.scores.iter().filter(|score| **score == f32::NEG_INFINITY).count(), step.scores.len() - 2);
    }
}

/// A model that knows of each item a number by its year, and answers as the embedded one does. It fails where it is told of a rating
/// that is `deaf`.
struct Scripted {
    knows: fn(usize) -> f64,
    deaf: &'static str,
}

/// The item of a title of the usual inputs.
fn item_of(title: &str) -> usize {
    let year: usize = title.rsplit_once('(').unwrap().1.trim_end_matches(')').parse().unwrap();
    year - 1990
}

impl Llm for Scripted {
    fn identity(&self) -> String {
        r#"{"provider":"gguf","form":2,"name":"scripted","blake3":"0"}"#.into()
    }
    fn max_concurrency(&self) -> Option<usize> {
        None
    }
    fn conversations<'a>(&'a self, _: &str) -> Result<ConversationFactory<'a>> {
        Ok(Box::new(|| Box::new(ScriptedConversation(self))))
    }
    fn references(&self, _: &ChoiceRequest) -> Vec<ChoiceRequest> {
        vec![]
    }
    fn parse_choice(&self, _: &ChoiceRequest, answer: &str, _: &[String]) -> Result<ParsedChoice> {
        let answer: Value = serde_json::from_str(answer)?;
        let scores = serde_json::from_value(answer["logprob_sum"].clone())?;
        Ok(ParsedChoice { index: Some(0), scores })
    }
    fn completion_text(&self, answer: &str) -> Result<String> {
        Ok(answer.to_owned())
    }
}

struct ScriptedConversation<'a>(&'a Scripted);

impl Conversation for ScriptedConversation<'_> {
    fn choose(&mut self, request: &ChoiceRequest) -> Result<Answer> {
        if request.context.iter().any(|line| line.contains(self.0.deaf)) {
            return Err(FailedCall { status: None, reason: "deaf".into(), raw: String::new() }.into());
        }
        let sums: Vec<f64> = request.options.iter().map(|title| (self.0.knows)(item_of(title))).collect();
        let answer = json!({ "logprob_sum": sums, "tokens": vec![1; sums.len()] });
        Ok(Answer { text: answer.to_string(), tokens: 1 })
    }
    fn complete(&mut self, _: &CompletionRequest) -> Result<Answer> {
        bail!("asked to write")
    }
}

/// Of three items of a cluster one pays 2 more than the others, which the world to imagine in does not know.
fn planted() -> Inputs {
    let mut inputs = inputs(of_choose().world);
    for (k, reward) in inputs.world.rewards_mut().data.iter_mut().enumerate() {
        *reward += if k % ITEMS % 3 == 2 { 2.0 } else { 0.0 };
    }
    inputs
}

/// What is recorded of a model that knows this, replayed.
fn replayed(knows: fn(usize) -> f64, search: &Value) -> Outputs {
    let folder = tempfile::tempdir().unwrap();
    let stage = Demonstrate {
        users: USERS,
        n_candidates: 10,
        llm: serde_json::from_value(json!({ "replay": { "score": "mean_logprob" } })).unwrap(),
        ..searching(search.clone())
    };
    let scripted = Scripted { knows, deaf: "nothing" };
    let recorded = stage.demonstrate(&scripted, &planted(), &Context::detached(folder.path())).unwrap();
    let other = tempfile::tempdir().unwrap();
    let inputs = Inputs { calls: Some(recorded.calls), ..planted() };
    let played = stage.run(inputs, &Context::detached(other.path())).unwrap();
    let items = |found: &Demonstrations| found.steps().map(|(_, _, step)| step.item).collect::<Vec<_>>();
    assert_eq!(items(&played.demonstrations), items(&recorded.demonstrations));
    played
}

#[test]
fn a_prior_that_knows_what_the_model_of_users_does_not_raises_the_return() {
    let search = json!({ "width": 4, "depth": 2, "alpha": 0.5 });
    let good = return_of(&replayed(|item| if item % 3 == 2 { 1.0 } else { 0.0 }, &search));
    let permuted = return_of(&replayed(|item| if item % 3 == 0 { 1.0 } else { 0.0 }, &search));
    let flat = return_of(&replayed(|_| 0.0, &search));
    let folder = tempfile::tempdir().unwrap();
    let mut uniform = search.clone();
    uniform["prior"] = "uniform".into();
    let uniform = Demonstrate { users: USERS, n_candidates: 10, ..searching(uniform) };
    let silent = Scripted { knows: |_| 0.0, deaf: "" };
    let uniform = uniform.demonstrate(&silent, &planted(), &Context::detached(folder.path())).unwrap();
    assert!(uniform.calls.0.is_empty());
    let uniform = return_of(&uniform);
    assert_eq!(flat, uniform, "a prior that knows nothing is the uniform one");
    assert!(good > uniform + 5.0 && permuted <= uniform, "{good} with it, {uniform} without, {permuted} with another");
}

#[test]
fn imagined_turns_without_an_answer_are_evenly_likely_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let stage = searching(json!({ "alpha": 0.1 }));
    // Only imagined ratings are 7.
    let knows = |item: usize| if item % 3 == 2 { 1.0 } else { 0.0 };
    let deaf = Scripted { knows, deaf: "rating: 7.0" };
    let mut inputs = inputs(flat());
    inputs.world.rules = QuitRules { distance_threshold: None, ..inputs.world.rules };
    inputs.model.as_mut().unwrap().rules.distance_threshold = None;
    let played = stage.demonstrate(&deaf, &inputs, &Context::detached(folder.path())).unwrap();
    let failed = played.calls.0.iter().filter(|call| call.failure.is_some()).count();
    assert!(failed >= 2 * 7, "two imagined turns at each but the last: {failed}");
    for (_, turn, step) in played.demonstrations.steps().filter(|(_, turn, _)| *turn < 7) {
        // The turn's own prior, and a uniform one over what comes after it.
        let likely = step.candidates.iter().map(|&item| knows(item as usize).exp()).sum::<f64>();
        let own = 7.0 + 0.1 * (knows(step.item as usize) - likely.ln());
        let further = 7.0 - 0.1 * 4.0_f64.ln();
        let best = step.scores.iter().copied().fold(f32::MIN, f32::max);
        assert!((f64::from(best) - own - further).abs() < 1e-5, "turn {turn}: {step:?}");
    }
}

#[test]
fn answers_without_probabilities_guide_no_search() {
    let folder = tempfile::tempdir().unwrap();
    let silent = Mumbling { every: 1, says: "0" };
    let stage = searching(json!({}));
    let error = stage.demonstrate(&silent, &inputs(flat()), &Context::detached(folder.path())).err().unwrap();
    let error = format!("{error:#}");
    assert!(error.contains("gives no probabilities of its options") && error.contains("\nhelp: "), "{error}");
}

#[test]
fn the_port_and_the_setting_go_together() {
    let wanted = |stage: &Demonstrate| {
        let model = stage.requirements().into_iter().find(|wanted| wanted.port == "model").unwrap();
        (model.setting, model.connected)
    };
    assert_eq!(wanted(&choosing()), ("actor", false));
    assert_eq!(wanted(&searching(json!({}))), ("actor.search", true));
    let mut other = inputs(flat());
    other.model = Some(cluster_world(&[1.0], 3, 2, 8, USERS));
    let error = searching(json!({})).check_inputs(&other).unwrap_err().to_string();
    assert!(error.starts_with("the world at `model` has 5 users and 3 items"), "{error}");
    // Results from before the port was added stay.
    assert_eq!(Demonstrate::ADDED_PORTS, ["model", "adapter"]);
}
