//! An actor that searches in a world of its own, and where that makes it an oracle.

use crate::project::{Project, repository};

const TEACHER: &str = "  teacher:
    use: demonstrate
    inputs: { world: evaluation.world, items: log.items, train: split.train, candidates: offers.candidates }
    with: { llm: { gguf: { asset: toy-llm } }, users: 6, n_candidates: 5, item_noun: movie }
";
const SEARCHED: &str = "  teacher:
    use: demonstrate
    inputs: { world: evaluation.world, model: world.world, items: log.items, train: split.train, candidates: offers.candidates }
    with: { llm: { gguf: { asset: toy-llm } }, users: 6, n_candidates: 5, item_noun: movie, actor: { search: { width: 2 } } }
";
const ALONE: &str = "  teacher:
    use: demonstrate.search
    inputs: { world: evaluation.world, model: world.world, candidates: offers.candidates }
    with: { users: 6, n_candidates: 5, width: 3, depth: 3 }
";

/// The smoke experiment with another teacher.
fn smoke(teacher: &str) -> Project {
    let smoke = std::fs::read_to_string(repository().join("configs/smoke.yaml")).unwrap();
    assert!(smoke.contains(TEACHER));
    Project::new().config(&smoke.replace(TEACHER, teacher))
}

#[test]
fn a_teacher_that_searches_has_a_row_that_says_so() {
    let project = smoke(SEARCHED);
    project.ok(&["run", "x.yaml", "score"]);
    let query = "metric == 'return_inclusive' and policy == 'teacher (LLM)'";
    let asked = ["inspect", "score.metrics", "--filter", query, "--columns", "remark", "--format", "csv"];
    project.ok(&asked).prints(&["searched for its recommendations in a world of its own"]);
    project.ok(&["inspect", "teacher.demonstrations", "--episode", "0"]).prints(&["-inf"]);
    // Without a language model, in the same place.
    let alone = smoke(ALONE);
    alone.ok(&["run", "x.yaml", "score"]).says(&["decisions  "]);
    alone.ok(&asked).prints(&["searched for its recommendations"]);
}

#[test]
fn who_searches_in_the_world_that_evaluates_is_refused_before_anything_runs() {
    let plan = |teacher: &str| smoke(teacher).run(&["plan", "x.yaml"]);
    for teacher in [SEARCHED, ALONE] {
        let oracle = teacher.replace("model: world.world", "model: evaluation.world");
        plan(&oracle).ends_with(2).says(&[
            "`teacher.demonstrations` was made with `evaluation.world`, which is `score.world`",
            "searches in the evaluation world knows what it answers",
            "help: let it search in a world of another family",
        ]);
        // Also in what was made from it.
        let lowered = "  lowered: { use: world.pessimistic, inputs: { world: evaluation.world } }\n";
        let made = format!("{lowered}{}", teacher.replace("model: world.world", "model: lowered.world"));
        plan(&made).ends_with(2).says(&["`teacher.demonstrations` was made with `evaluation.world`"]);
    }
    // And in what a policy learns from.
    let demos = "  demos:
    use: demonstrate.search
    inputs: { world: world.world, model: evaluation.world, candidates: offers.candidates }
";
    let text = std::fs::read_to_string(repository().join("configs/smoke.yaml")).unwrap();
    let begin = text.find("  demos:\n").unwrap();
    let text = format!("{}{demos}{}", &text[..begin], &text[text.find("  teacher:\n").unwrap()..]);
    let learned = Project::new().config(&text).run(&["plan", "x.yaml"]);
    learned.ends_with(2).says(&["no policy may learn from the"]);
}

#[test]
fn the_setting_and_its_input_go_together() {
    let plan = |from: &str, to: &str| {
        assert!(SEARCHED.contains(from));
        smoke(&SEARCHED.replace(from, to)).run(&["plan", "x.yaml"]).ends_with(2)
    };
    plan(" model: world.world,", "").says(&[
        "`teacher` has no input `model`, which `actor.search` requires: a search imagines turns",
        "help: connect a world there",
    ]);
    plan(", actor: { search: { width: 2 } }", "")
        .says(&["`teacher` has an input `model`, which `actor` leaves unused", "set `actor: { search: {} }`"]);
    plan("width: 2", "widht: 2").says(&["widht", "width"]);
    plan("width: 2", "width: 0").says(&["search.width", "at least one candidate"]);
    plan("gguf: { asset: toy-llm }", "openai: { model: m }").says(&["search.prior", "logprobs: true"]);
}
