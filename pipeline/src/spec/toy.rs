//! Stages for tests: they have the shape of real ones and do nothing.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Experiment, load};
use crate::diagnostic::Diagnostics;
use crate::{
    Artifact, AssetName, Catalog, Context, ForbiddenSource, Generator, Many, NoLeakage, Requirement, Stage, StageKind,
    ports,
};

macro_rules! toy_artifacts {
    ($($name:ident $kind:literal),*) => {$(
        pub struct $name;
        impl Artifact for $name {
            const KIND: &'static str = $kind;
            const EXTENSION: &'static str = "txt";
            const FORMAT: u32 = 1;
            fn write(&self, path: &Path) -> anyhow::Result<()> {
                Ok(std::fs::write(path, $kind)?)
            }
            fn read(_: &Path) -> anyhow::Result<Self> {
                Ok(Self)
            }
        }
    )*};
}
toy_artifacts!(Rows "interactions", Items "items", World "world", Policy "policy", Metrics "metrics");

ports! { pub struct Nothing {} }
ports! { pub struct LogOut { interactions: Rows, items: Items } }
ports! { pub struct WorldIn { interactions: Rows, items: Option<Items> } }
ports! { pub struct WorldOut { world: World } }
ports! { pub struct LearnIn { world: World, metrics: Option<Metrics> } }
ports! { pub struct LearnOut { policy: Policy, curves: Metrics } }
ports! { pub struct ScoreIn { world: World, policies: Many<Policy> } }
ports! { pub struct ScoreOut { metrics: Metrics, by_user: Metrics } }
ports! { pub struct PickIn { policies: Many<Policy> } }
ports! { pub struct PickOut { policy: Policy } }
ports! { pub struct ReportIn { metrics: Many<Metrics> } }

/// Reads a log.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ingest {
    /// The data set.
    asset: AssetName,
    /// Column of the user. The file's own header counts.
    user_column: String,
}

/// Fits a world.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Fit {
    /// Sizes of the hidden layers.
    layers: Vec<usize>,
    /// The kind of model.
    model: Model,
    /// Seed of the first weights.
    seed: u64,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum Model {
    /// Counts only.
    Popular,
    /// Factors.
    Factors {
        /// Number of factors.
        rank: u32,
        /// Weight of the penalty.
        penalty: f64,
    },
}

/// Learns a policy.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Learn {
    /// Discount per step, above 0 and at most 1. One means no discount.
    gamma: f64,
    /// Step size of the optimiser, above 0.
    learning_rate: f64,
    /// Seed of all random draws.
    seed: u64,
    /// Whether to centre the advantages.
    centre: bool,
}

#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Plain {}

impl Default for Fit {
    fn default() -> Self {
        Self { layers: vec![64], model: Model::Popular, seed: 0 }
    }
}

impl Default for Learn {
    fn default() -> Self {
        Self { gamma: 0.99, learning_rate: 1e-3, seed: 0, centre: true }
    }
}

impl Stage for Ingest {
    const KIND: &'static str = "ingest";
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "Reads a log.";
    type Inputs = Nothing;
    type Outputs = LogOut;
    fn assets(&self) -> Vec<AssetName> {
        vec![self.asset.clone()]
    }
    fn run(&self, _: Nothing, _: &Context) -> anyhow::Result<LogOut> {
        Ok(LogOut { interactions: Rows, items: Items })
    }
}

impl Stage for Fit {
    const KIND: &'static str = "fit";
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "Fits a world.";
    type Inputs = WorldIn;
    type Outputs = WorldOut;
    fn run(&self, _: WorldIn, _: &Context) -> anyhow::Result<WorldOut> {
        Ok(WorldOut { world: World })
    }
}

impl Stage for Learn {
    const KIND: &'static str = "learn.a2c";
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "Learns a policy.";
    const USES_DEVICE: bool = true;
    type Inputs = LearnIn;
    type Outputs = LearnOut;
    fn check(&self) -> Result<(), (String, String)> {
        if !(self.gamma > 0.0 && self.gamma <= 1.0) {
            return Err(("gamma".into(), format!("must be above 0 and at most 1, not {}", self.gamma)));
        }
        if self.learning_rate <= 0.0 {
            return Err(("learning_rate".into(), format!("must be above 0, not {}", self.learning_rate)));
        }
        Ok(())
    }
    fn run(&self, _: LearnIn, _: &Context) -> anyhow::Result<LearnOut> {
        Ok(LearnOut { policy: Policy, curves: Metrics })
    }
}

/// Scores policies.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Score {
    /// Seed of the users drawn.
    seed: u64,
    /// Whether policies must not have been made with the world.
    apart: bool,
    /// Whether the log that the world was made from is out of sight too.
    drawn: bool,
    /// Whether policies may be made with the world, but not by what was measured in it.
    told: bool,
    /// Whether only settled learners are scored.
    settled: bool,
    /// How to clip the policies that are connected.
    clip: Option<Clip>,
}

/// Picks one of many policies.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Pick {
    /// Seed of the pick.
    seed: u64,
}

/// How to clip.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Clip {
    /// At how many deviations; below 0 of no policy.
    at: f64,
}

impl Stage for Score {
    const KIND: &'static str = "score";
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "Scores policies.";
    type Inputs = ScoreIn;
    type Outputs = ScoreOut;
    fn no_leakage(&self) -> Vec<NoLeakage> {
        let rule = NoLeakage {
            port: "world",
            from: "policies",
            except: if self.told { &[] } else { &["metrics"] },
            through: if self.told { &["metrics"] } else { &[] },
            drawn_from: self.drawn.then_some("interactions"),
            why: "judge apart",
            help: "another world",
        };
        if self.apart { vec![rule] } else { Vec::new() }
    }
    fn forbidden_sources(&self) -> Vec<ForbiddenSource> {
        let rule = ForbiddenSource { port: "policies", made_by: "learn.a2c", why: "too new", help: "an older one" };
        if self.settled { vec![rule] } else { Vec::new() }
    }
    fn requirements(&self) -> Vec<Requirement> {
        let requirement = |clip: &Clip| Requirement {
            setting: "clip.at",
            port: "policies",
            connected: clip.at >= 0.0,
            why: "they say how far".into(),
            help: "connect them, or not",
        };
        self.clip.iter().map(requirement).collect()
    }
    fn run(&self, _: ScoreIn, _: &Context) -> anyhow::Result<ScoreOut> {
        Ok(ScoreOut { metrics: Metrics, by_user: Metrics })
    }
}

impl Stage for Pick {
    const KIND: &'static str = "pick";
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "Picks a policy.";
    const JOINS_CELLS: bool = true;
    type Inputs = PickIn;
    type Outputs = PickOut;
    fn run(&self, _: PickIn, _: &Context) -> anyhow::Result<PickOut> {
        Ok(PickOut { policy: Policy })
    }
}

impl Stage for Plain {
    const KIND: &'static str = "report";
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "Writes a report.";
    type Inputs = ReportIn;
    type Outputs = Nothing;
    fn run(&self, _: ReportIn, _: &Context) -> anyhow::Result<Nothing> {
        Ok(Nothing {})
    }
}

/// The toy stages.
pub static CATALOG: Catalog = Catalog {
    stages: &[
        StageKind::of::<Fit>(),
        StageKind::of::<Ingest>(),
        StageKind::of::<Learn>(),
        StageKind::of::<Pick>(),
        StageKind::of::<Plain>(),
        StageKind::of::<Score>(),
    ],
    generators: &[Generator { name: "toy-log", about: "Ten rows.", write: |_| Ok(()) }],
    devices: crate::Devices::CPU,
    inspect: |_, _, _| Ok(crate::inspect::Verdict::Whole),
    load_policy: |_| anyhow::bail!("toys have no policy"),
    encode_impressions: |_| anyhow::bail!("toys show nothing"),
    export_policy: |_| anyhow::bail!("toys have no policy"),
    add_items: |_| anyhow::bail!("toys have no policy"),
    worth: crate::worth::WorthStudy {
        experiment: |_, _| anyhow::bail!("toys have no teacher"),
        output: ("worth", "worth"),
        answer: |_, _| anyhow::bail!("toys have no teacher"),
    },
    metrics: &[],
    curves: &[],
    report: |_| Ok(String::new()),
    template: "",
    log_experiment: |_, _| Err(anyhow::anyhow!("a toy reads no log")),
    renamed: RENAMED,
};

/// Old words of the toy stages, one of every form.
const RENAMED: &str = "\
kind\twhat\told\tnew\tnote
-\tsetting\teach\tsweep\t
-\tkind\tworld.fit\tfit\t
learn.*\tsetting\tdiscount\tgamma\t
learn.*\tinput\tenvironment\tworld\t
learn.*\toutput\tagent\tpolicy\t
learn.a2c\treciprocal\tpatience\tlearning_rate\tAbove 0.
fit\tinput\tlog\tinteractions\t
fit\tvalue\tmodel=counts\tmodel=popular\t
fit\tvalue\tmodel=svd\tmodel=factors\t
fit\tsetting\tmodel.factors.size\tmodel.factors.rank\t
fit\tsetting\tmodel.factors.seed\tseed\t
fit\tsetting\trank\tmodel.factors.rank\t
fit\tsetting\tpenalty\tmodel.factors.penalty\t
score\tsetting\tcut\tclip\t
score\tsetting\tcut.where\tclip.at\t
score\tsetting\tclip_at\tclip.at\t
";

/// An experiment that uses every form of the format.
pub const GOOD: &str = "\
name: toy
assets:
  rows: { from: [{ generate: toy-log }] }
stages:
  log: { use: ingest, with: { asset: rows, user_column: user } }
  world:
    use: fit
    inputs: { interactions: log.interactions, items: log.items }
    with: { layers: [64, 32], model: { factors: { rank: 8, penalty: 1e-3 } } }
  judge: { use: fit, inputs: { interactions: log.interactions }, with: { model: popular } }
  policy:
    use: learn.a2c
    sweep: { seed: [0, 1, 2] }
    inputs: { world: world }
  one: { use: learn.a2c, inputs: { world: world.world } }
  score:
    use: score
    inputs: { world: judge.world, policies: { a2c: policy.policy, single: one.policy } }
  report: { use: report, inputs: { metrics: [score.metrics, policy.curves] } }
";

/// Loads a text as `toy.yaml`.
pub fn load_text(text: &str, sets: &[&str]) -> Result<Experiment, Diagnostics> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("toy.yaml");
    std::fs::write(&path, text).unwrap();
    let sets: Vec<String> = sets.iter().map(|&set| set.to_owned()).collect();
    load(&path, &sets, &CATALOG)
}

/// Loads a text that has no faults.
pub fn good(text: &str, sets: &[&str]) -> Experiment {
    match load_text(text, sets) {
        Ok(experiment) => experiment,
        Err(faults) => panic!("{faults}"),
    }
}
