#![doc = include_str!("../README.md")]

pub mod add_items;
pub mod align;
pub mod artifact;
pub mod demonstrate;
pub mod embed;
pub mod env;
pub mod evaluate;
pub mod features;
pub mod filter;
pub mod ground;
pub mod hint_policy;
pub mod hints;
pub mod ingest;
pub mod inspect;
pub mod irl;
pub mod llm;
pub mod memory_graph;
pub mod nn;
pub mod onnx;
pub mod prompting;
pub mod rate;
pub mod ratings;
pub mod recommend;
pub mod recycle;
pub mod report;
pub mod rescale;
pub mod retrieve;
pub mod rl;
pub mod split;
pub mod tune;
pub mod world;
pub mod worth;

use pipeline::{Artifact as _, Catalog, CurvesReader, Generator, MetricsReader, StageKind};

use artifact::{Curves, Metrics};

/// Every kind of stage, alphabetical: the one place where a new one is entered.
pub static CATALOG: Catalog = Catalog {
    stages: &[
        StageKind::of::<align::AlignDpo>(),
        StageKind::of::<align::AlignSft>(),
        StageKind::of::<align::AlignVirtualTokens>(),
        StageKind::of::<demonstrate::Demonstrate>(),
        StageKind::of::<demonstrate::FromLog>(),
        StageKind::of::<demonstrate::PermuteItems>(),
        StageKind::of::<demonstrate::PermuteReturns>(),
        StageKind::of::<demonstrate::Replay>(),
        StageKind::of::<demonstrate::Retriever>(),
        StageKind::of::<demonstrate::Search>(),
        StageKind::of::<embed::Embed>(),
        StageKind::of::<evaluate::Evaluate>(),
        StageKind::of::<evaluate::Agreement>(),
        StageKind::of::<evaluate::OffPolicy>(),
        StageKind::of::<evaluate::EvaluatePrompts>(),
        StageKind::of::<evaluate::EvaluateRanking>(),
        StageKind::of::<filter::Duplicates>(),
        StageKind::of::<filter::KCore>(),
        StageKind::of::<filter::Sample>(),
        StageKind::of::<hint_policy::HintPolicy>(),
        StageKind::of::<hints::MakeHints>(),
        StageKind::of::<ingest::Amazon>(),
        StageKind::of::<ingest::Coat>(),
        StageKind::of::<ingest::Impressions>(),
        StageKind::of::<ingest::ItemScoreTable>(),
        StageKind::of::<ingest::KuaiRec>(),
        StageKind::of::<ingest::MovieLens>(),
        StageKind::of::<ingest::Recbole>(),
        StageKind::of::<ingest::Steam>(),
        StageKind::of::<ingest::Synthetic>(),
        StageKind::of::<ingest::Table>(),
        StageKind::of::<ingest::Transcripts>(),
        StageKind::of::<irl::Airl>(),
        StageKind::of::<irl::Gail>(),
        StageKind::of::<memory_graph::BuildMemoryGraph>(),
        StageKind::of::<rate::Rate>(),
        StageKind::of::<recycle::Recycle>(),
        StageKind::of::<report::Report>(),
        StageKind::of::<report::ReportWorth>(),
        StageKind::of::<rescale::Rescale>(),
        StageKind::of::<retrieve::Retrieve>(),
        StageKind::of::<retrieve::RetrieveByItemScores>(),
        StageKind::of::<rl::A2c>(),
        StageKind::of::<rl::BehaviourCloning>(),
        StageKind::of::<rl::Bcq>(),
        StageKind::of::<rl::C51>(),
        StageKind::of::<rl::Cql>(),
        StageKind::of::<rl::Crr>(),
        StageKind::of::<rl::DecisionTransformer>(),
        StageKind::of::<rl::Dpo>(),
        StageKind::of::<rl::Dqn>(),
        StageKind::of::<rl::Group>(),
        StageKind::of::<rl::IlRec>(),
        StageKind::of::<rl::Iql>(),
        StageKind::of::<rl::Mixture>(),
        StageKind::of::<rl::Ppo>(),
        StageKind::of::<rl::Reinforce>(),
        StageKind::of::<rl::Sac>(),
        StageKind::of::<rl::Sqn>(),
        StageKind::of::<split::Split>(),
        StageKind::of::<tune::Tune>(),
        StageKind::of::<world::Bias>(),
        StageKind::of::<world::DeepFm>(),
        StageKind::of::<world::Ials>(),
        StageKind::of::<world::Matrix>(),
        StageKind::of::<world::MatrixFactorisation>(),
        StageKind::of::<world::Pessimistic>(),
        StageKind::of::<world::EstimatePropensities>(),
        StageKind::of::<world::ReferenceUsers>(),
        StageKind::of::<world::TwoTower>(),
        StageKind::of::<worth::EstimateWorth>(),
        StageKind::of::<worth::EvaluateReturns>(),
    ],
    generators: &[
        Generator {
            name: "toy-llm",
            about: "a random llama-family model of 27 kB as GGUF",
            write: llm::gguf::toy::write_toy,
        },
        Generator {
            name: "toy-sentence-encoder",
            about: "a random BERT sentence encoder of 150 kB as a folder",
            write: llm::sentence_encoder::toy::write_toy,
        },
        Generator {
            name: "toy-log",
            about: "a small log of known structure as atomic files",
            write: ingest::toy::write_toy,
        },
        Generator {
            name: "toy-bandit",
            about: "a small log of a random policy in the form of the Open Bandit sample",
            write: ingest::toy_bandit::write_toy_bandit,
        },
    ],
    devices: nn::device::DEVICES,
    inspect: inspect::inspect,
    load_policy: recommend::load,
    encode_impressions: artifact::encode_impressions,
    export_policy: onnx::export,
    add_items: add_items::add_items,
    metrics: &[MetricsReader { kind: Metrics::KIND, read: artifact::metric_values }],
    curves: &[CurvesReader { kind: Curves::KIND, read: artifact::curve_points }],
    report: report::render,
    worth: worth::STUDY,
    template: include_str!("../../configs/quickstart.yaml"),
    log_experiment: ingest::log_experiment,
    renamed: include_str!("renamed.tsv"),
};
