//! `evaluate.ranking` in an experiment: its table in files, on the page and in reports, and what it refuses.

use crate::project::Project;

const CONFIG: &str = "\
name: ranking
assets: { toy: { from: [{ generate: toy-log }] } }
stages:
  log: { use: ingest.recbole, with: { asset: toy, title: movie_title } }
  split: { use: split, inputs: { interactions: log.interactions } }
  neighbours:
    use: retrieve
    inputs: { interactions: split.train, items: log.items, users: log.users }
  bias:
    use: world.bias
    inputs: { interactions: split.train, items: log.items, users: log.users }
    with: { simulator: { horizon: 10, quit_window: 3, embedding_dim: 4 } }
  ranking:
    use: evaluate.ranking
    inputs:
      train: split.train
      test: split.test
      items: log.items
      users: log.users
      candidates: { item-knn: neighbours.candidates }
      worlds: { bias: bias.world }
    with: { top_k: [5, 10] }
";

#[test]
fn a_log_is_ranked_without_a_simulator_and_the_table_is_in_every_form() {
    let project = Project::new().config(CONFIG);
    project.ok(&["run", "x.yaml"]);
    let rows = project.ok(&["inspect", "ranking.metrics", "--json", "--head", "100"]).stdout;
    assert!(rows.contains("item-knn") && rows.contains("coverage"), "{rows}");
    let json = project.ok(&["report", "--json"]).json();
    let ranking = &json["runs"][0]["rankings"][0];
    assert_eq!(ranking["stage"], "ranking");
    // Four systems, two cut-offs, seven metrics.
    let rows = ranking["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 4 * 2 * 7);
    let find = |system: &str, metric: &str, k: u64| {
        rows.iter().find(|row| row["system"] == system && row["metric"] == metric && row["k"] == k).unwrap()
    };
    for system in ["random", "popular", "item-knn", "bias"] {
        let of = |metric: &str, k| find(system, metric, k)["mean"].as_f64().unwrap();
        assert!(of("recall", 5) <= of("recall", 10) && of("ndcg", 10) <= of("hit_rate", 10), "{system}");
        assert!((0.0..=1.0).contains(&of("coverage", 10)), "{system}");
    }
    project.ok(&["report", "--format", "md"]).prints(&[
        "Ranking of held-out interactions (ranking)",
        "NDCG&#64;5",
        "item-knn",
    ]);
    project.ok(&["report", "--format", "csv"]).prints(&[",ranking,item-knn,true,,,ndcg@10,"]);
    project
        .run(&["report", "last", "last", "--html", "x.html"])
        .ends_with(2)
        .says(&["holds a ranking and no metrics", "help: `--format csv`"]);
    let without = CONFIG.to_owned() + "  report: { use: report }\n";
    project.file("y.yaml", &without).run(&["plan", "y.yaml"]).ends_with(2).says(&[
        "`report` needs one of its inputs `metrics`, `ranking`",
        "help: ",
        "`ranking.metrics`",
    ]);
    let project = Project::new()
        .config(&(CONFIG.to_owned() + "  report: { use: report, inputs: { ranking: ranking.metrics } }\n"));
    project.ok(&["run", "x.yaml"]).says(&["verdict  Of ", "the best baseline by NDCG@5 is "]);
    let page = std::fs::read_to_string(project.path("artifacts/ranking/report/page-as-run.html")).unwrap();
    assert!(
        page.contains("Ranking of held-out interactions")
            && page.contains("item-knn")
            && !page.contains("<h2>Results</h2>")
    );
    project.ok(&["report", "--html", "x.html"]);
    assert!(project.path("x.html").is_file());
}

#[test]
fn what_learned_from_the_held_out_part_is_refused() {
    let leaking = CONFIG.replace(
        "use: world.bias\n    inputs: { interactions: split.train",
        "use: world.bias\n    inputs: { interactions: log.interactions",
    );
    assert_ne!(leaking, CONFIG);
    let refused = Project::new().config(&leaking).run(&["plan", "x.yaml"]).ends_with(2);
    refused.says(&[
        "`bias.world` was made with `log.interactions`, of which `ranking.test` is a part",
        "help: rank with what learned",
    ]);
}
