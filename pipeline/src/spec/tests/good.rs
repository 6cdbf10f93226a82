use super::HEAD;
use crate::spec::schema;
use crate::spec::toy::{CATALOG, GOOD, good};

fn ids(text: &str, sets: &[&str]) -> Vec<String> {
    good(text, sets).nodes.into_iter().map(|node| node.id).collect()
}

/// `port: name[cell]=node.output …` of one node.
fn edges(text: &str, id: &str) -> Vec<String> {
    let experiment = good(text, &[]);
    let node = experiment.nodes.iter().find(|node| node.id == id).unwrap();
    let edge = |l: &crate::spec::Edge| format!("{}[{}]={}.{}", l.name, l.cell, experiment.nodes[l.node].id, l.port);
    let port =
        |(port, all): &(String, Vec<_>)| format!("{port}: {}", all.iter().map(edge).collect::<Vec<_>>().join(" "));
    node.inputs.iter().map(port).collect()
}

#[test]
fn nodes_come_in_reading_order_with_their_links() {
    assert_eq!(
        ids(GOOD, &[]),
        ["log", "world", "judge", "policy@seed=0", "policy@seed=1", "policy@seed=2", "one", "score", "report"]
    );
    assert_eq!(edges(GOOD, "judge"), ["interactions: log[]=log.interactions", "items: "]);
    assert_eq!(
        edges(GOOD, "score"),
        [
            "world: judge[]=judge.world",
            "policies: a2c[seed=0]=policy@seed=0.policy a2c[seed=1]=policy@seed=1.policy \
             a2c[seed=2]=policy@seed=2.policy single[]=one.policy"
        ]
    );
    let experiment = good(GOOD, &[]);
    assert_eq!((experiment.name.as_str(), experiment.source.as_str()), ("toy", GOOD));
    assert_eq!(experiment.assets.keys().collect::<Vec<_>>(), ["rows"]);
    assert_eq!((experiment.nodes[4].stage.as_str(), experiment.nodes[4].cell.as_str()), ("policy", "seed=1"));
    assert_eq!(experiment.nodes[4].kind.kind, "learn.a2c");
}

#[test]
fn configs_are_filled_with_defaults_and_swept_values() {
    let experiment = good(GOOD, &[]);
    let config = |at: usize| experiment.nodes[at].config.config().to_string();
    assert_eq!(config(1), r#"{"layers":[64,32],"model":{"factors":{"rank":8,"penalty":0.001}},"seed":0}"#);
    assert_eq!(config(5), r#"{"gamma":0.99,"learning_rate":0.001,"seed":2,"centre":true}"#);
}

#[test]
fn a_stage_that_joins_cells_takes_those_of_its_own_cell_from_many() {
    let text = |own: &str| {
        format!(
            "{HEAD}  w: {{ use: fit, inputs: {{ interactions: log.interactions }} }}
  p: {{ use: learn.a2c, inputs: {{ world: w }}, sweep: {{ seed: [0, 1], gamma: [0.9, 1.0] }} }}
  best: {{ use: pick, inputs: {{ policies: p.policy }}{own} }}
"
        )
    };
    let swept = text(", sweep: { seed: [0, 1] }");
    assert_eq!(
        edges(&swept, "best@seed=1"),
        ["policies: p[seed=1,gamma=0.9]=p@seed=1,gamma=0.9.policy p[seed=1,gamma=1.0]=p@seed=1,gamma=1.0.policy"]
    );
    assert_eq!(edges(&text(""), "best")[0].matches("p[").count(), 4);
}

#[test]
fn a_stage_follows_the_sweep_that_it_reads() {
    let text = format!(
        "{HEAD}  w: {{ use: fit, inputs: {{ interactions: log.interactions }}, sweep: {{ seed: [0, 1] }} }}
  p: {{ use: learn.a2c, inputs: {{ world: w }}, sweep: {{ gamma: [0.9, 1.0], seed: [0, 1] }} }}
  s: {{ use: score, inputs: {{ world: w, policies: p.policy }} }}
  q: {{ use: learn.a2c, inputs: {{ world: w, metrics: p.curves }} }}
"
    );
    assert_eq!(
        ids(&text, &[])[2..],
        [
            "w@seed=0",
            "w@seed=1",
            "p@seed=0,gamma=0.9",
            "p@seed=0,gamma=1.0",
            "p@seed=1,gamma=0.9",
            "p@seed=1,gamma=1.0",
            "s@seed=0",
            "s@seed=1",
            "q@seed=0,gamma=0.9",
            "q@seed=0,gamma=1.0",
            "q@seed=1,gamma=0.9",
            "q@seed=1,gamma=1.0",
        ]
    );
    assert_eq!(edges(&text, "p@seed=1,gamma=0.9")[0], "world: w[seed=1]=w@seed=1.world");
    assert_eq!(edges(&text, "s@seed=1")[1].matches("p[seed=").count(), 4, "a port of many takes every cell");
    assert_eq!(
        edges(&text, "q@seed=1,gamma=0.9"),
        ["world: w[seed=1]=w@seed=1.world", "metrics: p[seed=1,gamma=0.9]=p@seed=1,gamma=0.9.curves"]
    );
}

#[test]
fn a_sweep_may_reach_into_a_block_and_over_choices() {
    let text = format!(
        "{HEAD}  w: {{ use: fit, inputs: {{ interactions: log.interactions }}, with: {{ model: {{ factors: {{ penalty: 1 }} }} }}, sweep: {{ model.factors.rank: [2, 4] }} }}
  v: {{ use: fit, inputs: {{ interactions: log.interactions }}, sweep: {{ model: [popular, {{ factors: {{ rank: 1, penalty: 0 }} }}] }} }}
"
    );
    let ids = ids(&text, &[]);
    assert_eq!(ids[2..5], ["w@model.factors.rank=2", "w@model.factors.rank=4", "v@model=popular"]);
    assert!(ids[5].starts_with("v@model=factors-"), "{ids:?}");
}

#[test]
fn two_outputs_of_one_stage_in_a_list_have_names_of_their_own() {
    let text = format!(
        "{HEAD}  s: {{ use: score, inputs: {{ world: world }} }}
  p: {{ use: learn.a2c, inputs: {{ world: world }} }}
  r: {{ use: report, inputs: {{ metrics: [s.metrics, s.by_user, p.curves] }} }}
"
    );
    let wanted = "metrics: s.metrics[]=s.metrics s.by_user[]=s.by_user p[]=p.curves";
    assert_eq!(edges(&text, "r"), [wanted]);
}

#[test]
fn overrides_are_typed_like_the_file() {
    let config = |sets: &[&str], at: usize| good(HEAD, sets).nodes[at].config.config().to_string();
    assert_eq!(config(&["stages.world.with.seed=7"], 1), r#"{"layers":[64],"model":"popular","seed":7}"#);
    let sets = ["stages.world.with.layers=[8, 4]", "stages.world.with.layers.1=5", "stages.world.with.model=popular"];
    assert_eq!(config(&sets, 1), r#"{"layers":[8,5],"model":"popular","seed":0}"#);
    let nested = ["stages.world.with.model.factors.rank=3", "stages.world.with.model.factors.penalty=1e-2"];
    assert_eq!(config(&nested, 1), r#"{"layers":[64],"model":{"factors":{"rank":3,"penalty":0.01}},"seed":0}"#);
    assert_eq!(config(&["stages.log.with.user_column='a=b.c'"], 0), r#"{"asset":"rows","user_column":"a=b.c"}"#);
    assert_eq!(
        ids(HEAD, &["stages.world.sweep.model.factors.rank=[1,2]", "stages.world.with.model.factors.penalty=1"]).len(),
        3
    );
    assert_eq!(ids(GOOD, &["stages.policy.sweep.seed=[5]"])[3], "policy@seed=5");
    assert_eq!(good(HEAD, &["name=other"]).name, "other");
    assert_eq!(good(GOOD, &["stages.world.inputs.items="]).nodes[1].inputs[1], ("items".to_owned(), vec![]));
}

#[test]
fn anchors_comments_and_other_line_ends_are_read() {
    let text = "\u{feff}name: t # ü\r\nassets: { rows: { from: [{ generate: toy-log }] } }\r\nstages:\r\n  log: { use: ingest, with: { asset: rows, user_column: ü } }\r\n  a: { use: fit, inputs: { interactions: log.interactions }, with: &w { seed: 0x10 } }\r\n  b: { use: fit, inputs: { interactions: log.interactions }, with: *w }\r\n";
    let experiment = good(text, &[]);
    assert_eq!(experiment.nodes[0].config.config()["user_column"], "ü");
    assert_eq!(experiment.nodes[1].config.config()["seed"], 16);
    assert_eq!(experiment.nodes[2].config.config()["seed"], 16);
}

#[test]
fn the_schema_describes_every_kind_with_its_config_and_ports() {
    let schema = schema(&CATALOG);
    let stage = &schema["properties"]["stages"]["additionalProperties"];
    for (index, kind) in CATALOG.stages.iter().enumerate() {
        assert_eq!(stage["properties"]["use"]["oneOf"][index]["const"], kind.kind);
        assert_eq!(stage["properties"]["use"]["oneOf"][index]["description"], kind.about);
        let rule = &stage["allOf"][index];
        assert_eq!(rule["if"]["properties"]["use"]["const"], kind.kind);
        let name = rule["then"]["properties"]["with"]["$ref"].as_str().unwrap().strip_prefix("#/$defs/").unwrap();
        assert_eq!(schema["$defs"][name]["additionalProperties"], false, "{name}");
        let ports = rule["then"]["properties"]["inputs"]["properties"].as_object().unwrap();
        assert_eq!(ports.keys().collect::<Vec<_>>(), (kind.inputs)().iter().map(|p| p.name).collect::<Vec<_>>());
    }
    assert_eq!(schema["$defs"]["Source"]["properties"]["generate"]["anyOf"][0]["const"], "toy-log");
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
}
