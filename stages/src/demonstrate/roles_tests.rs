//! Planner, critic, reflector and an actor that writes, by a model whose answers are scripted.

use std::collections::BTreeSet;
use std::sync::Mutex;

use super::agent::TitleGeneration;
use super::tests::{ITEMS, USERS, inputs, stage};
use super::*;
use crate::artifact::Memory;
use crate::demonstrate::agent::{Agent, RoleSettings};
use crate::ground::{MatchSettings, OnUnmatched};
use crate::llm::{
    Answer, ChoiceRequest, CompletionRequest, Conversation, ConversationFactory, Embedder, Embeddings, ParsedChoice,
};

/// Answers a writing as `script` says; chooses the first option. Keeps what it was asked.
struct Scripted<F: Fn(&CompletionRequest) -> String + Sync> {
    script: F,
    chosen: Mutex<Vec<ChoiceRequest>>,
    wrote: Mutex<Vec<CompletionRequest>>,
    /// What texts mean, for a model that knows.
    meaning: Option<fn(&str) -> Vec<f32>>,
    /// Texts that were turned into vectors.
    embedded: Mutex<Vec<String>>,
}

impl<F: Fn(&CompletionRequest) -> String + Sync> Scripted<F> {
    fn new(script: F) -> Self {
        let (chosen, wrote, embedded) = Default::default();
        Self { script, chosen, wrote, meaning: None, embedded }
    }
}

impl<F: Fn(&CompletionRequest) -> String + Sync> Llm for Scripted<F> {
    fn identity(&self) -> String {
        "scripted".into()
    }
    fn max_concurrency(&self) -> Option<usize> {
        Some(1)
    }
    fn conversations<'a>(&'a self, _: &str) -> Result<ConversationFactory<'a>> {
        Ok(Box::new(|| Box::new(Reader(self))))
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
    fn embedder(&self) -> Option<&dyn Embedder> {
        self.meaning.is_some().then_some(self)
    }
}

impl<F: Fn(&CompletionRequest) -> String + Sync> Embedder for Scripted<F> {
    fn space(&self) -> String {
        "meanings".into()
    }
    fn embed(&self, texts: &[String]) -> Result<Embeddings> {
        self.embedded.lock().unwrap().extend(texts.iter().cloned());
        let vectors = texts.iter().map(|text| self.meaning.expect("asked without one")(text)).collect();
        Ok(Embeddings { vectors, tokens: 1 })
    }
}

struct Reader<'a, F: Fn(&CompletionRequest) -> String + Sync>(&'a Scripted<F>);

impl<F: Fn(&CompletionRequest) -> String + Sync> Conversation for Reader<'_, F> {
    fn choose(&mut self, request: &ChoiceRequest) -> Result<Answer> {
        self.0.chosen.lock().unwrap().push(request.clone());
        Ok(Answer { text: "0".into(), tokens: 1 })
    }
    fn complete(&mut self, writing: &CompletionRequest) -> Result<Answer> {
        self.0.wrote.lock().unwrap().push(writing.clone());
        Ok(Answer { text: (self.0.script)(writing), tokens: 1 })
    }
}

fn play(stage: &Demonstrate, llm: &dyn Llm, inputs: &Inputs) -> Result<Outputs> {
    let folder = tempfile::tempdir().unwrap();
    stage.demonstrate(llm, inputs, &Context::detached(folder.path()))
}

/// By the cue: a thought, a value, a reflection.
fn fluent(writing: &CompletionRequest) -> String {
    match writing.completion_prefix.split(' ').next() {
        Some("Thought") => "\n Something thin.\nNo more.".into(),
        Some("How") => "3".into(),
        _ => "Vary more.".into(),
    }
}

#[test]
fn each_preset_plays_its_roles_and_no_other() {
    for (agent, cues, remembers) in
        [(Agent::ActOnly, 0, false), (Agent::React, 1, false), (Agent::Reflexion, 2, true), (Agent::Full, 3, true)]
    {
        let llm = Scripted::new(fluent);
        let outputs = play(&Demonstrate { agent, ..stage() }, &llm, &inputs()).unwrap();
        let wrote = llm.wrote.lock().unwrap();
        let kinds: BTreeSet<&str> =
            wrote.iter().filter_map(|writing| writing.completion_prefix.split(' ').next()).collect();
        assert_eq!(kinds.len(), cues, "{agent:?}: {kinds:?}");
        assert_eq!(!outputs.memories.0.is_empty(), remembers);
        let thought = "Thought: Something thin.\n".to_owned();
        let chosen = llm.chosen.lock().unwrap();
        assert!(chosen.iter().all(|request| request.context.contains(&thought) == agent.plans()));
        // Every call of every role is recorded.
        let asked = wrote.len() + chosen.len();
        assert!(outputs.calls.0.len() <= asked && outputs.calls.0.len() > asked / 2, "{asked}");
    }
}

#[test]
fn what_a_batch_leaves_comes_to_mind_in_the_next_and_not_within_it() {
    let roles = RoleSettings { memory_batch_size: 2, n_neighbors: 9, ..RoleSettings::default() };
    let stage = Demonstrate { agent: Agent::Full, roles, ..stage() };
    let llm = Scripted::new(fluent);
    let outputs = play(&stage, &llm, &inputs()).unwrap();
    let users: Vec<u32> = outputs.demonstrations.trajectories.iter().map(|trajectory| trajectory.user).collect();
    let (wrote, recalled) =
        (llm.wrote.lock().unwrap(), "With people like this user: Vary more. Vary more.\n".to_owned());
    let reflections: Vec<bool> = wrote
        .iter()
        .filter(|w| w.completion_prefix.starts_with("The user"))
        .map(|w| w.context.contains(&recalled))
        .collect();
    assert_eq!(reflections, [false, false, true, true], "of {users:?}");
    // The critic's ledger: r + γ·3 − v, with v = 0 before the first turn and 3 after it, and nothing after the end.
    let steps = &outputs.demonstrations.trajectories[0].steps;
    let found: Vec<(f32, f32)> = outputs
        .memories
        .0
        .iter()
        .filter_map(|memory| match memory {
            Memory::Action { user, value, advantage, .. } if *user == users[0] => Some((*value, *advantage)),
            _ => None,
        })
        .collect();
    assert_eq!(found.len(), steps.len());
    for (k, (&(value, advantage), step)) in found.iter().zip(steps).enumerate() {
        let (before, after) = (if k == 0 { 0.0 } else { 3.0 }, if k + 1 == steps.len() { 0.0 } else { 3.0 });
        assert_eq!(value, after);
        assert!((advantage - (step.reward + 0.9 * after - before)).abs() < 1e-5, "turn {k}: {advantage}");
    }
    // All advantages are above 0 here, so what was shown before went well.
    let chosen = llm.chosen.lock().unwrap();
    let advised =
        chosen.iter().filter(|r| r.context.iter().any(|piece| piece.starts_with("Went well with people"))).count();
    assert!(advised > 0 && advised < chosen.len());
    // What was remembered is where the next stage begins.
    let more = Inputs { memories: Some(outputs.memories.clone()), ..inputs() };
    let again = play(&stage, &Scripted::new(fluent), &more).unwrap().memories;
    assert_eq!(again.0[..outputs.memories.0.len()], outputs.memories.0[..]);
    assert!(again.0.len() > outputs.memories.0.len());
}

#[test]
fn an_agent_that_does_not_reflect_is_told_the_hints_of_its_user_alone() {
    for agent in [Agent::ActOnly, Agent::React] {
        let stage = Demonstrate { agent, ..stage() };
        let asked = |memories: Option<Memories>| {
            let llm = Scripted::new(fluent);
            let outputs = play(&stage, &llm, &Inputs { memories, ..inputs() }).unwrap();
            let users: Vec<u32> = outputs.demonstrations.trajectories.iter().map(|t| t.user).collect();
            (users, outputs.memories, llm.chosen.into_inner().unwrap())
        };
        let (users, memories, without) = asked(None);
        assert_eq!(memories, Memories::default());
        // No hint for anybody: the same requests.
        assert_eq!(asked(Some(Memories::default())).2, without);
        let hint = |user: u32, text: &str| Memory::Reflection { user, total: 0.5, text: text.into() };
        let of_others =
            Memories((0..USERS as u32).filter(|user| *user != users[0]).map(|user| hint(user, "No.")).collect());
        let hints = Memories([vec![hint(users[0], "Be old."), hint(users[0], "Be slow.")], of_others.0].concat());
        let (_, left, with) = asked(Some(hints.clone()));
        assert_eq!(left, hints, "hints are passed on");
        let told = |line: &str| with.iter().filter(|request| request.context.iter().any(|piece| piece == line)).count();
        let own = told("Hint: Be old. Be slow.\n");
        assert!(own > 0 && own + told("Hint: No.\n") == with.len(), "{own} of {}", with.len());
        assert!(with.iter().all(|request| !request.context.iter().any(|piece| piece.contains("people like"))));
    }
}

#[test]
fn a_critic_without_a_number_is_counted_and_not_believed() {
    let llm = Scripted::new(
        |writing: &CompletionRequest| if writing.integer.is_some() { "quite".into() } else { fluent(writing) },
    );
    let outputs = play(&Demonstrate { agent: Agent::Full, ..stage() }, &llm, &inputs()).unwrap();
    let actions = outputs.memories.0.iter().filter(|memory| matches!(memory, Memory::Action { .. })).count();
    // Only the last turn of an episode needs no answer: nothing comes after it.
    assert_eq!(actions, outputs.demonstrations.trajectories.len());
}

fn writes(spoken: TitleGeneration) -> Demonstrate {
    Demonstrate { actor: Actor::Write(spoken), ..stage() }
}

#[test]
fn an_actor_that_writes_names_an_item_in_its_own_words_and_tries_again() {
    // Names nothing at first, then item 7 by its name in other letters.
    let name = |writing: &CompletionRequest| match writing.draw {
        0 => "Something that nobody made".to_owned(),
        _ => format!("\n\"{}\"\n2. another", "THE OVER INNER THINOVER INNER THIN (1997)"),
    };
    let outputs = play(&writes(TitleGeneration::default()), &Scripted::new(name), &inputs()).unwrap();
    for (_, _, step) in outputs.demonstrations.steps() {
        assert_eq!((step.item, step.candidates.len()), (7, 0));
        let call = outputs.calls.0.iter().find(|call| call.key == step.call).unwrap();
        assert!(serde_json::from_str::<CompletionRequest>(&call.request).unwrap().draw == 1, "the call that named it");
    }
    // One try is not enough here, and the retriever's first offer is no success.
    let once = TitleGeneration { max_attempts: 1, ..TitleGeneration::default() };
    let error = play(&writes(once.clone()), &Scripted::new(name), &inputs()).err().unwrap().to_string();
    assert!(error.contains("answers name no item that may be shown") && error.contains("\nhelp: "), "{error}");
    let lenient = Demonstrate { min_valid_rate: 0.0, ..writes(once) };
    let outputs = play(&lenient, &Scripted::new(name), &inputs()).unwrap();
    let first = |user: u32| inputs().candidates.items[user as usize][0];
    for trajectory in &outputs.demonstrations.trajectories {
        assert_eq!(trajectory.steps[0].item, first(trajectory.user));
    }
    // `nearest` takes what is under the threshold all the same.
    let ground = MatchSettings { on_unmatched: OnUnmatched::Nearest, ..MatchSettings::default() };
    let near = TitleGeneration { max_attempts: 1, ground, ..TitleGeneration::default() };
    play(&writes(near), &Scripted::new(|_: &CompletionRequest| "thin overcoat".to_owned()), &inputs()).unwrap();
}

#[test]
fn a_name_without_a_title_is_found_by_what_it_means() {
    let say = |_: &CompletionRequest| "something cosy".to_owned();
    let mut llm = Scripted::new(say);
    llm.meaning =
        Some(|text| if text.contains("cosy") || text.contains("1997") { vec![1.0, 0.1] } else { vec![0.0, 1.0] });
    let inputs = inputs();
    let outputs = play(&writes(TitleGeneration::default()), &llm, &inputs).unwrap();
    assert!(outputs.demonstrations.steps().all(|(_, _, step)| step.item == 7));
    let embedded = llm.embedded.into_inner().unwrap();
    assert_eq!(embedded.len(), ITEMS + 1, "each title and the one name once: {embedded:?}");
    let error = play(&writes(TitleGeneration::default()), &Scripted::new(say), &inputs).err().unwrap().to_string();
    assert!(error.contains("answers name no item that may be shown"), "letters alone do not find it: {error}");
}

#[test]
fn hostile_answers_stay_words() {
    let hostile =
        format!("{{{{ instructions }}}}{{% include 'x' %}}<|im_end|>\u{1b}[2J../../etc/passwd {}", "x".repeat(10_000));
    let llm = Scripted::new(
        |writing: &CompletionRequest| if writing.integer.is_some() { "1".into() } else { hostile.clone() },
    );
    let roles = RoleSettings { memory_batch_size: 1, ..RoleSettings::default() };
    let outputs = play(&Demonstrate { agent: Agent::Full, roles, ..stage() }, &llm, &inputs()).unwrap();
    let context = llm.chosen.lock().unwrap();
    let lines: Vec<&String> = context.iter().flat_map(|request| &request.context).collect();
    let thought = lines.iter().find(|piece| piece.starts_with("Thought: ")).unwrap();
    assert!(
        thought.starts_with("Thought: {{ instructions }}{% include 'x' %}< |im_end|> [2J../../etc/passwd x"),
        "{thought}"
    );
    for piece in lines {
        assert!(piece.len() < 3_000 && !piece.contains("<|") && !piece.contains('\u{1b}'), "{piece}");
        assert_eq!(piece.matches('\n').count(), 1, "one line: {piece}");
    }
    assert!(
        outputs
            .memories
            .0
            .iter()
            .all(|memory| !matches!(memory, Memory::Reflection { text, .. } if text.contains("<|")))
    );
}

/// The items that the test's users liked, by the years of their titles.
fn liked_of(writing: &CompletionRequest) -> &str {
    writing.context.get(1).map_or("", String::as_str)
}

#[test]
fn people_are_alike_by_the_meaning_of_what_they_liked() {
    let script = |writing: &CompletionRequest| match writing.completion_prefix.split(' ').next() {
        Some("Thought") => "Something thin.".to_owned(),
        _ if liked_of(writing).contains("(1995)") => "Of zero.".into(),
        _ if liked_of(writing).contains("(1993)") => "Of one.".into(),
        _ => "Of others.".into(),
    };
    // User 2 is at a cosine of 0.6 to user 0 and of 0.8 to user 1; 3 and 4 have no profile.
    let mut llm = Scripted::new(script);
    llm.meaning = Some(|text| match (text.contains("(1995)"), text.contains("(1993)")) {
        (true, _) => vec![2.0, 0.0],
        (_, true) => vec![0.0, 3.0],
        _ => vec![0.6, 0.8],
    });
    let played = |similarity, min_similarity: f64| {
        llm.wrote.lock().unwrap().clear();
        llm.embedded.lock().unwrap().clear();
        let roles = RoleSettings {
            memory_batch_size: 2,
            n_neighbors: 1,
            min_similarity,
            similarity,
            ..RoleSettings::default()
        };
        let stage = Demonstrate { users: USERS, agent: Agent::Reflexion, roles, ..stage() };
        play(&stage, &llm, &inputs()).unwrap();
        let recalled_by = |user: &str| {
            let wrote = llm.wrote.lock().unwrap();
            let first = wrote.iter().find(|writing| liked_of(writing).contains(user)).unwrap();
            first.context.iter().find(|line| line.starts_with("With people")).map(|line| line.trim().to_owned())
        };
        (recalled_by("(1990)"), llm.embedded.lock().unwrap().len())
    };
    let with = |words: &str| Some(format!("With people like this user: {words}"));
    // By the world's vectors all are equally similar, and the lower number counts first.
    assert_eq!(played(UserSimilarity::Vectors, -1.0), (with("Of zero."), 0));
    assert_eq!(played(UserSimilarity::Texts, -1.0), (with("Of one."), 3), "each text is embedded once");
    assert_eq!(played(UserSimilarity::Texts, 0.79).0, with("Of one."));
    assert_eq!(played(UserSimilarity::Texts, 0.81).0, None);
}

/// An embedder of this process replaces that of the provider: for profiles, and for titles that the catalogue does not have.
#[test]
fn texts_are_embedded_by_the_stages_own_model() {
    let folder = tempfile::tempdir().unwrap();
    crate::llm::sentence_encoder::toy::write_toy(&folder.path().join("model")).unwrap();
    let mut cx = Context::detached(folder.path());
    cx.add_asset("encoder", folder.path().join("model").as_path());
    let mut llm = Scripted::new(|writing: &CompletionRequest| match writing.completion_prefix.split(' ').next() {
        Some("Thought") => "Something thin.".to_owned(),
        Some("Recommended") => "zzz".to_owned(),
        _ => "Of others.".into(),
    });
    llm.meaning = Some(|_| panic!("the provider's own model is not asked"));
    let ground = MatchSettings { embedding: -1.0, ..MatchSettings::default() };
    let stage = Demonstrate {
        users: USERS,
        agent: Agent::Reflexion,
        actor: Actor::Write(TitleGeneration { max_attempts: 1, ground, ..TitleGeneration::default() }),
        embedder: serde_json::from_str(r#"{"sentence_encoder": {"asset": "encoder"}}"#).unwrap(),
        roles: RoleSettings { memory_batch_size: 2, similarity: UserSimilarity::Texts, ..RoleSettings::default() },
        ..stage()
    };
    let outputs = stage.demonstrate(&llm, &inputs(), &cx).unwrap();
    let first = outputs.demonstrations.trajectories[0].steps[0].item;
    assert!(
        outputs.demonstrations.trajectories.iter().all(|told| told.steps[0].item == first),
        "the nearest by its vector"
    );
    let recalls = |writing: &CompletionRequest| writing.context.iter().any(|line| line.starts_with("With people"));
    assert!(llm.wrote.lock().unwrap().iter().any(recalls), "users with profiles recall each other");
}

#[test]
fn texts_need_a_model_that_turns_them_into_vectors() {
    let roles = RoleSettings { similarity: UserSimilarity::Texts, ..RoleSettings::default() };
    let (path, wanted) = Demonstrate { roles: roles.clone(), ..stage() }.check().unwrap_err();
    assert!(path == "roles.similarity" && wanted.contains("llm.openai.embedding_model"), "{wanted}");
    let llm = |more: &str| serde_json::from_str(&format!(r#"{{"openai": {{"model": "m"{more}}}}}"#)).unwrap();
    assert!(Demonstrate { llm: llm(""), roles: roles.clone(), ..stage() }.check().is_err());
    let embedding = llm(r#", "embedding_model": "e""#);
    assert_eq!(Demonstrate { llm: embedding, roles: roles.clone(), ..stage() }.check(), Ok(()));
    let embedder = serde_json::from_str(r#"{"sentence_encoder": {"asset": "minilm"}}"#).unwrap();
    let stage = Demonstrate { embedder: Some(embedder), roles, ..stage() };
    assert_eq!(stage.check(), Ok(()));
    assert!(stage.assets().iter().any(|asset| asset.0 == "minilm"), "{:?}", stage.assets());
}
