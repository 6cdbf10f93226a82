use pipeline::Named;
use rand::RngExt;
use serde_json::{Value, json};

use super::difficulty::reversed;
use super::played::Played;
use super::*;
use crate::artifact::{Array, Repeats, Revision, Step, Termination};
use crate::env::cluster_world;
use crate::llm::{ChoiceRequest, CompletionRequest, key};
use crate::nn::rng;

const MODEL: &str = r#"{"provider":"gguf","form":2,"name":"scripted","blake3":"0"}"#;

/// Clusters {0, 1}, {2, 3} and {4, 5}; the last item is remembered, and nothing is shown twice.
fn world(pay: [f32; 3]) -> World {
    let mut world = cluster_world(&pay, 2, 1, 6, 4);
    world.rules.repeats = Repeats::Masked;
    world
}

fn step(item: u32, candidates: &[u32], scores: &[f32], reward: f32) -> Step {
    Step { item, reward, candidates: candidates.to_vec(), scores: scores.to_vec(), call: format!("k{item}") }
}

/// In the world [5, 4, 3]: item 4, where 0 is better, then 2.
fn recorded() -> Trajectory {
    let steps = vec![step(4, &[4, 0, 2], &[0.0, -1.0, -2.0], 3.0), step(2, &[2, 5, 0], &[], 4.0)];
    Trajectory { user: 1, steps, end: Termination::Horizon }
}

fn inputs(trajectories: Vec<Trajectory>, gates: &[[f32; 3]]) -> Inputs {
    let gate = |(number, &pay): (usize, &[f32; 3])| Named {
        name: format!("gate{number}"),
        cell: String::new(),
        value: world(pay),
    };
    Inputs {
        demonstrations: Demonstrations::new(trajectories),
        model: world([5.0, 4.0, 3.0]),
        gates: gates.iter().enumerate().map(gate).collect(),
        prompts: None,
        revisions: None,
        calls: None,
        adapter: None,
    }
}

fn run(with: Value, inputs: Inputs) -> Outputs {
    let stage: Recycle = serde_json::from_value(with).unwrap();
    stage.check().unwrap();
    let folder = tempfile::tempdir().unwrap();
    stage.run(inputs, &Context::detached(folder.path())).unwrap()
}

fn accepted(revisions: &Revisions) -> Vec<&Revision> {
    revisions.0.iter().filter(|revision| revision.accepted).collect()
}

#[test]
fn a_better_candidate_replaces_a_step_and_the_episode_is_played_again() {
    let out = run(json!({ "gate": "none" }), inputs(vec![recorded()], &[]));
    let [revision] = &out.revisions.0[..] else { panic!("{:?}", out.revisions) };
    assert_eq!((revision.step, revision.old_item, revision.new_item, revision.gain), (0, 4, 0, 2.0));
    assert_eq!((revision.kind.as_str(), revision.gate_gain, revision.accepted), ("grounded", None, true));
    let found = &out.demonstrations.trajectories[0];
    let shown: Vec<(u32, f32)> = found.steps.iter().map(|step| (step.item, step.reward)).collect();
    assert_eq!((&shown[..], found.end), (&[(0, 5.0), (2, 4.0)][..], Termination::Horizon));
    assert_eq!(
        (&found.steps[0].candidates[..], &found.steps[1].candidates[..]),
        (&[4, 0, 2][..], &[2, 5][..]),
        "0 was shown"
    );
    // A nat a token is worth 3: the model's own choice scores 1 more, and the world's gain is 2.
    let held =
        run(json!({ "gate": "none", "revise": { "grounded": { "weight": 3.0 } } }), inputs(vec![recorded()], &[]));
    let [revision] = &held.revisions.0[..] else { panic!("{:?}", held.revisions) };
    assert_eq!((revision.step, revision.new_item), (1, 0), "0 is left for the step without scores");
    let dear =
        run(json!({ "gate": "none", "revise": { "grounded": { "min_gain": 2.0 } } }), inputs(vec![recorded()], &[]));
    assert!(dear.revisions.0.is_empty());
}

#[test]
fn gate_worlds_that_agree_accept_and_others_keep_the_bytes() {
    let agree = run(json!({}), inputs(vec![recorded()], &[[5.0, 4.0, 3.0], [6.0, 4.0, 3.0]]));
    let revision = accepted(&agree.revisions)[0];
    assert_eq!(revision.gate_gain, Some(2.5));
    assert!((revision.gate_gain_sd.unwrap() - 0.5_f64.sqrt()).abs() < 1e-12);
    let before = Demonstrations::new(vec![recorded()]);
    assert_ne!(agree.demonstrations.digest(), before.digest());
    let known = |out: &Outputs| out.demonstrations.searched_worlds().len();
    assert_eq!(known(&agree), 2, "the world that chose, which one gate equals, and the other gate");
    let disagree = run(json!({}), inputs(vec![recorded()], &[[5.0, 4.0, 3.0], [6.0, 4.0, 3.0], [1.0, 4.0, 3.0]]));
    assert!(disagree.revisions.0.iter().all(|revision| !revision.accepted && revision.reason.contains("lower bound")));
    assert!(!disagree.revisions.0.is_empty());
    assert_eq!((&disagree.demonstrations, known(&disagree)), (&before, 0));
    assert_eq!(disagree.demonstrations.digest(), before.digest());
    // With no deviation taken off, the mean of 1 is enough.
    let mean = run(
        json!({ "deviations": 0.0 }),
        inputs(vec![recorded()], &[[5.0, 4.0, 3.0], [6.0, 4.0, 3.0], [1.0, 4.0, 3.0]]),
    );
    assert_eq!(accepted(&mean.revisions)[0].gate_gain, Some(1.0));
}

#[test]
fn the_stated_gains_add_up_to_those_of_world_and_gate_worlds() {
    let mut draw = rng(&[7]);
    let world = world([5.0, 4.0, 3.0]);
    let mut trajectories = Vec::new();
    for user in 0..40 {
        let items: Vec<u32> = (0..6).map(|_| draw.random_range(0..6)).collect();
        let played = Played::of(&world, user % 4, &items).unwrap();
        let steps = played
            .shown
            .iter()
            .zip(&played.rewards)
            .map(|(&at, &reward)| step(items[at], &[0, 1, 2, 3, 4, 5], &[], reward));
        trajectories.push(Trajectory { user: user % 4, steps: steps.collect(), end: played.end });
    }
    let pays = [[5.0, 4.5, 2.0], [4.0, 4.5, 3.5], [6.0, 1.0, 3.0]];
    for with in [
        json!({ "gate": "none", "revise": { "random": { "share": 0.5 } }, "seed": 3 }),
        json!({ "gate": "world", "deviations": 0.3 }),
        json!({ "gate": "none", "revise": { "grounded": {} }, "max_per_episode": 1 }),
    ] {
        let out = run(with.clone(), inputs(trajectories.clone(), &pays));
        let taken = accepted(&out.revisions);
        assert!(taken.len() > 10, "{with}: {}", taken.len());
        let gain = |world: &World| -> f64 {
            let total = |all: &[Trajectory]| -> f64 {
                let items = |one: &Trajectory| one.steps.iter().map(|step| step.item).collect::<Vec<_>>();
                all.iter().map(|one| Played::of(world, one.user, &items(one)).unwrap().total()).sum()
            };
            total(&out.demonstrations.trajectories) - total(&trajectories)
        };
        let stated: f64 = taken.iter().map(|revision| revision.gain).sum();
        assert!((stated - gain(&world)).abs() < 1e-9, "{with}: {stated} and {}", gain(&world));
        let stated: f64 = taken.iter().map(|revision| revision.gate_gain.unwrap()).sum();
        let gates: f64 = pays.iter().map(|&pay| gain(&self::world(pay))).sum::<f64>() / 3.0;
        assert!((stated - gates).abs() < 1e-9, "{with}: {stated} and {gates}");
        // What is written is what the world plays.
        for one in &out.demonstrations.trajectories {
            let items: Vec<u32> = one.steps.iter().map(|step| step.item).collect();
            let played = Played::of(&world, one.user, &items).unwrap();
            let rewards: Vec<f32> = one.steps.iter().map(|step| step.reward).collect();
            assert_eq!((played.rewards, played.end), (rewards, one.end));
        }
    }
}

#[test]
fn random_edits_stand_where_the_accepted_ones_stand_and_are_as_many() {
    let many: Vec<Trajectory> = (0..4).map(|user| Trajectory { user, ..recorded() }).collect();
    let grounded = run(json!({ "gate": "none" }), inputs(many.clone(), &[]));
    assert_eq!(accepted(&grounded.revisions).len(), 4);
    let random = |seed: u64| {
        let inputs = Inputs { revisions: Some(grounded.revisions.clone()), ..inputs(many.clone(), &[]) };
        run(json!({ "gate": "none", "revise": { "random": {} }, "seed": seed }), inputs)
    };
    let places = |out: &Outputs| out.revisions.0.iter().map(|r| (r.trajectory, r.step, r.old_item)).collect::<Vec<_>>();
    assert_eq!(places(&random(1)), places(&grounded));
    let items = |out: &Outputs| out.revisions.0.iter().map(|r| r.new_item).collect::<Vec<_>>();
    assert_eq!(items(&random(1)), items(&random(1)));
    assert!((0..20).any(|seed| items(&random(seed)) != items(&random(1))));
    assert!(items(&random(1)).iter().all(|&item| item == 0 || item == 2));
}

#[test]
fn an_item_that_is_shown_again_later_is_left_out_there() {
    let steps = vec![step(4, &[4, 0], &[], 3.0), step(0, &[0, 3], &[1.0, 2.0], 5.0), step(2, &[2, 0], &[], 4.0)];
    let recorded = Trajectory { user: 0, steps, end: Termination::Horizon };
    let with = json!({ "gate": "none", "revise": { "random": { "share": 1.0 } }, "max_per_episode": 1 });
    let out = run(with, inputs(vec![recorded], &[]));
    let found = &out.demonstrations.trajectories[0];
    let shown: Vec<(u32, &[u32])> = found.steps.iter().map(|step| (step.item, &step.candidates[..])).collect();
    assert_eq!(shown, [(0, &[4, 0][..]), (2, &[2][..])]);
    assert_eq!(out.revisions.0[0].gain, -3.0);
}

/// A truth that all worlds see through noise of their own: what four other worlds confirm carries over to the truth, and without a
/// truth nothing does.
#[test]
fn a_planted_gain_carries_over_and_noise_does_not() {
    let (users, items) = (60, 60);
    let uniform = |seed: u64| -> Vec<f32> {
        let mut draw = rng(&[seed]);
        (0..users * items).map(|_| draw.random::<f32>() * 2.0 - 1.0).collect()
    };
    let world = |truth: f32, noise: f32, seed: u64| {
        let mut world = cluster_world(&[0.0; 10], 6, 1, 8, users);
        world.rules.distance_threshold = None;
        let rewards = uniform(1).into_iter().zip(uniform(seed)).map(|(t, n)| 3.0 + truth * t + noise * n);
        world.set_rewards(Array::new(&[users, items], rewards.collect()));
        world
    };
    let mut draw = rng(&[2]);
    let mut trajectories = Vec::new();
    for user in 0..users as u32 {
        let mut all: Vec<u32> = (0..items as u32).collect();
        let mut next = || {
            let candidates: Vec<u32> = (0..6).map(|_| all.swap_remove(draw.random_range(0..all.len()))).collect();
            step(candidates[0], &candidates, &[], 3.0)
        };
        trajectories.push(Trajectory { user, steps: (0..8).map(|_| next()).collect(), end: Termination::Horizon });
    }
    // Gains an episode: where it was chosen, in the gate worlds, in the truth.
    let gains = |truth: f32, with: Value, revisions: Option<Revisions>| {
        let gate =
            |seed: u64| Named { name: format!("gate{seed}"), cell: String::new(), value: world(truth, 1.0, seed) };
        let inputs = Inputs {
            demonstrations: Demonstrations::new(trajectories.clone()),
            model: world(truth, 1.0, 10),
            gates: (11..15).map(gate).collect(),
            prompts: None,
            revisions,
            calls: None,
            adapter: None,
        };
        let out = run(with, inputs);
        let judge = world(truth, 0.0, 1);
        let total = |all: &[Trajectory]| -> f64 {
            let items = |one: &Trajectory| one.steps.iter().map(|step| step.item).collect::<Vec<_>>();
            all.iter().map(|one| Played::of(&judge, one.user, &items(one)).unwrap().total()).sum()
        };
        let judged = total(&out.demonstrations.trajectories) - total(&trajectories);
        let sum = |of: fn(&Revision) -> f64| accepted(&out.revisions).into_iter().map(of).sum::<f64>();
        let [chosen, gated] = [sum(|r| r.gain), sum(|r| r.gate_gain.unwrap_or_default())];
        ([chosen, gated, judged].map(|gain| gain / users as f64), out.revisions)
    };
    let (gated, revisions) = gains(1.0, json!({}), None);
    let (ungated, _) = gains(1.0, json!({ "gate": "none" }), None);
    let (random, _) = gains(1.0, json!({ "gate": "none", "revise": { "random": {} } }), Some(revisions));
    println!("gated {gated:?}, ungated {ungated:?}, random {random:?}");
    assert!(gated[2] > 2.0 && gated[2] > 0.75 * gated[1], "what the gates confirm is there: {gated:?}");
    assert!(ungated[2] < 0.7 * ungated[0], "half of what was chosen is noise: {ungated:?}");
    assert!(random[2] < 0.5 * gated[2], "it is not the editing: {random:?}");
    let (nothing, _) = gains(0.0, json!({}), None);
    assert!(nothing[0] > 0.1 && nothing[1] > 0.0 && nothing[2].abs() < 1e-4, "only exploited noise: {nothing:?}");
}

/// Calls of a scripted model: log-probabilities of options, each of one token, or a text.
#[derive(Default)]
struct Script(Vec<Call>);

impl Script {
    fn add(&mut self, request: String, answer: Value) {
        let key = key(MODEL, &request);
        self.0.push(Call { key, model: MODEL.into(), request, answer: answer.to_string(), failure: None });
    }

    /// A choice with the log-probability of each option, and what each has alone.
    fn choice(&mut self, request: &ChoiceRequest, logprobs: &[f64], alone: f64) {
        self.add(request.canonical(), json!({ "logprob_sum": logprobs, "tokens": vec![1; logprobs.len()] }));
        for option in &request.options {
            let reference = ChoiceRequest { context: vec![], options: vec![option.clone()], ..request.clone() };
            self.add(reference.canonical(), json!({ "logprob_sum": [alone], "tokens": [1] }));
        }
    }
}

/// The question behind the first recorded step.
fn asked() -> ChoiceRequest {
    ChoiceRequest {
        context: vec!["Choose.\n".into(), "The user's favourites: Heat.\n".into()],
        completion_prefix: "Recommended movie:".into(),
        options: ["four", "zero", "two"].map(str::to_owned).to_vec(),
    }
}

fn scripted(with: Value, script: Script) -> Outputs {
    let mut trajectory = recorded();
    trajectory.steps[0].call = key(MODEL, &asked().canonical());
    let prompts = vec![Call {
        key: trajectory.steps[0].call.clone(),
        model: MODEL.into(),
        request: asked().canonical(),
        answer: "{}".into(),
        failure: None,
    }];
    let inputs =
        Inputs { prompts: Some(Calls(prompts)), calls: Some(Calls(script.0)), ..inputs(vec![trajectory], &[]) };
    run(with, inputs)
}

#[test]
fn difficulty_is_exp_of_minus_the_information_and_gates() {
    for (told_after_zero, accepts) in [(-3.0, true), (-5.0, false)] {
        let mut script = Script::default();
        script.choice(&asked(), &[-1.0, -1.5, -3.0], -2.0);
        let told = "The user's favourites: Heat.";
        script.choice(&reversed("four", told, "movie"), &[-4.0], -6.0);
        script.choice(&reversed("zero", told, "movie"), &[told_after_zero], -6.0);
        let out = scripted(json!({ "gate": "ifd", "llm": { "replay": {} }, "item_noun": "movie" }), script);
        let revision = &out.revisions.0[0];
        let close = |found: Option<[f64; 2]>, wanted: [f64; 2]| {
            found.unwrap().iter().zip(wanted).all(|(found, wanted)| (found - wanted).abs() < 1e-6)
        };
        assert!(close(revision.ifd, [(-1.0_f64).exp(), (-0.5_f64).exp()]), "{revision:?}");
        assert!(close(revision.r_ifd, [(-2.0_f64).exp(), (-6.0 - told_after_zero).exp()]), "{revision:?}");
        assert_eq!(revision.accepted, accepts, "{revision:?}");
        assert_eq!(out.demonstrations.trajectories[0].steps[0].item, if accepts { 0 } else { 4 });
        assert_eq!(out.calls.0.iter().filter(|call| call.key == key(MODEL, &asked().canonical())).count(), 1);
    }
}

#[test]
fn a_model_criticises_and_chooses_again() {
    let critique = Critique { criteria: vec!["fit".into()], max_tokens: 9 };
    let criticism: CompletionRequest = critique.criticism(&asked(), "four");
    assert_eq!(criticism.context[2], "Recommended movie: four\n");
    let mut script = Script::default();
    script.add(criticism.canonical(), json!({ "text": " too dull\nand more" }));
    let second = Critique::second_choice(&asked(), "four", "too dull\nand more", asked().options);
    assert_eq!(second.context[2], "A first idea was four. Criticism of it: too dull\n");
    script.choice(&second, &[-3.0, -1.0, -2.5], -2.0);
    let with = json!({
        "revise": { "llm": { "criteria": ["fit"], "max_tokens": 9 } }, "gate": "none", "llm": { "replay": {} },
    });
    let out = scripted(with, script);
    let [revision] = &out.revisions.0[..] else { panic!("{:?}", out.revisions) };
    assert_eq!((revision.old_item, revision.new_item, revision.kind.as_str()), (4, 0, "llm"));
    let chosen = out.calls.0.iter().find(|call| call.request == second.canonical()).unwrap();
    assert_eq!(revision.call, chosen.key);
    let found = &out.demonstrations.trajectories[0].steps[0];
    assert_eq!((found.item, &found.scores[..], &found.call), (0, &[-1.0, 1.0, -0.5][..], &revision.call));
    assert_eq!(out.calls.0.len(), 1 + 1 + 4, "what was recorded, the criticism, the choice and its references");
}

#[test]
fn wrong_settings_say_where() {
    for (with, path) in [
        (json!({ "gate": "ifd" }), "llm"),
        (json!({ "llm": { "replay": {} } }), "llm"),
        (json!({ "gate": "ifd", "llm": { "replay": { "score": "mean_logprob" } } }), "llm"),
        (json!({ "deviations": -1.0 }), "deviations"),
        (json!({ "revise": { "random": { "share": 2.0 } } }), "revise.random.share"),
        (json!({ "revise": { "grounded": { "weight": -1.0 } } }), "revise.grounded.weight"),
        (json!({ "revise": { "llm": { "criteria": [] } }, "llm": { "replay": {} } }), "revise.llm.criteria"),
        (json!({ "max_per_episode": 0 }), "max_per_episode"),
        (json!({ "item_noun": " " }), "item_noun"),
    ] {
        let stage: Recycle = serde_json::from_value(with.clone()).unwrap();
        assert_eq!(stage.check().unwrap_err().0, path, "{with}");
    }
    let folder = tempfile::tempdir().unwrap();
    let stage: Recycle = serde_json::from_value(json!({ "gate": "none" })).unwrap();
    let mut strange = recorded();
    strange.steps[0].candidates.push(99);
    let error = stage.run(inputs(vec![strange], &[]), &Context::detached(folder.path())).err().unwrap().to_string();
    assert!(error.contains("episode 0 is of a user or an item that the world of 4 users and 6 items"), "{error}");
}
