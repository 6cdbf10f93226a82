//! A made-up evaluation with the figures of a real one, for the tests of this folder.

use pipeline::Named;
use pipeline::report::{RunSummary, RunSummaryAsset, RunSummaryInput, RunSummaryStage};

use super::Inputs;
use crate::artifact::{
    Calibration, CalibrationBin, Comparison, Comparisons, Curves, Demonstrations, Estimate, Estimates, Items, Metric,
    Metrics, ProfilePoint, Profiles, RankingMetric, RankingMetrics, RewardPair, RewardPairs, Rollout, Rollouts,
    RowRole, Step, Termination, Trajectory, WorldAgreement, WorldDifference, WorldDifferences, WorldPair, WorldVerdict,
};
use crate::report::table::row::{Row, rows as group};

/// Numbers in 0..1 that look drawn (a linear congruential generator: no generator of the program is needed here).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
    /// About normal, mean 0, deviation 1.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.next()).sum::<f64>() - 6.0
    }
}

struct Player {
    name: &'static str,
    role: RowRole,
    remark: &'static str,
    mean: f64,
    half: f64,
    /// Deviation of single episodes.
    spread: f64,
    length: f64,
    coverage: f64,
    seeds: u32,
    users: u32,
}

const PRIVILEGED: &str = "privileged: knows the distances of the evaluation world";

#[rustfmt::skip]
const PLAYERS: [Player; 8] = [
    Player { name: "random", role: RowRole::Baseline, remark: "", mean: 24.1, half: 0.4, spread: 13.0, length: 7.8, coverage: 0.993, seeds: 5, users: 943 },
    Player { name: "random quit-aware", role: RowRole::Baseline, remark: PRIVILEGED, mean: 94.0, half: 0.3, spread: 9.0, length: 30.0, coverage: 1.0, seeds: 5, users: 943 },
    Player { name: "popular quit-aware", role: RowRole::Baseline, remark: PRIVILEGED, mean: 132.0, half: 0.0, spread: 9.5, length: 30.0, coverage: 0.018, seeds: 1, users: 943 },
    Player { name: "greedy oracle", role: RowRole::Baseline, remark: "privileged: knows rewards and distances of the evaluation world; myopic, so not a proven upper bound", mean: 141.0, half: 0.0, spread: 6.5, length: 30.0, coverage: 0.214, seeds: 1, users: 943 },
    Player { name: "retriever top-1", role: RowRole::Baseline, remark: "", mean: 125.0, half: 0.0, spread: 17.0, length: 28.9, coverage: 0.131, seeds: 1, users: 943 },
    Player { name: "teacher (LLM)", role: RowRole::Teacher, remark: "SmolLM2-135M-Instruct; few users, because it is slow", mean: 118.0, half: 6.0, spread: 14.0, length: 28.1, coverage: 0.042, seeds: 1, users: 16 },
    Player { name: "bc", role: RowRole::Policy, remark: "", mean: 128.0, half: 1.1, spread: 14.0, length: 29.4, coverage: 0.061, seeds: 1, users: 943 },
    Player { name: "a2c", role: RowRole::Policy, remark: "", mean: 135.0, half: 1.0, spread: 8.0, length: 29.9, coverage: 0.087, seeds: 5, users: 943 },
];

const TITLES: [&str; 20] = [
    "Star Wars",
    "Fargo",
    "The English Patient",
    "Scream",
    "Toy Story",
    "Raiders of the Lost Ark",
    "The Godfather",
    "Pulp Fiction",
    "Twelve Monkeys",
    "The Silence of the Lambs",
    "Jerry Maguire",
    "The Rock",
    "The Empire Strikes Back",
    "Star Trek: First Contact",
    "Back to the Future",
    "The Fugitive",
    "Independence Day",
    "The Full Monty",
    "L.A. Confidential",
    "Contact",
];

/// Rows with a return and an interval of `mean ± half`; five seeds, and the length 30 for a picture.
pub(super) fn rows(table: &[(&str, bool, f64, f64)]) -> Vec<Row> {
    let metric = |name: &str, baseline: bool, metric: &str, mean, half| Metric {
        policy: name.to_owned(),
        role: match baseline {
            true => RowRole::Baseline,
            false if name.starts_with("teacher") => RowRole::Teacher,
            false if name.starts_with("plan of ") => RowRole::Plan,
            false => RowRole::Policy,
        },
        privileged: false,
        remark: String::new(),
        metric: metric.to_owned(),
        mean,
        low: mean - half,
        high: mean + half,
        seeds: 5,
        episodes: 943,
    };
    let of = |&(name, baseline, mean, half): &(&str, bool, f64, f64)| {
        [
            metric(name, baseline, "return_inclusive", mean, half),
            metric(name, baseline, "return_exclusive", mean, half),
            metric(name, baseline, "length", 30.0, 0.0),
            metric(name, baseline, "reward_per_step", mean / 30.0, 0.0),
        ]
    };
    group(&Metrics { rows: table.iter().flat_map(of).collect(), missing: Vec::new() }, None)
}

/// Everything a report can be given.
pub(super) fn inputs() -> Inputs {
    Inputs {
        metrics: Some(metrics()),
        rollouts: Some(rollouts()),
        comparisons: Some(comparisons()),
        profiles: Some(profiles()),
        estimates: Some(estimates()),
        ranking: Some(ranking()),
        agreement: Some(worlds().0),
        world_differences: Some(worlds().1),
        calibration: vec![Named { name: "world".to_owned(), cell: String::new(), value: calibration() }],
        rewards: vec![Named { name: "reward".to_owned(), cell: String::new(), value: rewards() }],
        curves: curves(),
        demonstrations: vec![Named { name: "demos".to_owned(), cell: String::new(), value: demonstrations() }],
        items: Some(items()),
    }
}

/// Three worlds, and three differences of which one holds in all.
pub(super) fn worlds() -> (WorldAgreement, WorldDifferences) {
    let pair = |world: &str, other: &str, kendall_tau| WorldPair {
        world: world.to_owned(),
        other: other.to_owned(),
        kendall_tau,
        systems: 8,
    };
    let difference = |other: &str, negative, verdict| WorldDifference {
        policy: "a2c".to_owned(),
        other: other.to_owned(),
        metric: "return_inclusive".to_owned(),
        worlds: 3,
        positive: 3 - negative,
        negative,
        above: 1,
        below: 0,
        mean: 3.0,
        low: Some(-1.0),
        high: Some(7.0),
        verdict,
    };
    let pairs = vec![pair("mf", "bias", 0.9), pair("mf", "deepfm", 0.6), pair("bias", "deepfm", 0.9)];
    let differences = vec![
        difference("random", 0, WorldVerdict::Agree),
        difference("popular quit-aware", 1, WorldVerdict::SignFlips),
        difference("teacher (LLM)", 0, WorldVerdict::SomeSignificant),
    ];
    (WorldAgreement(pairs), WorldDifferences(differences))
}

/// Three systems at two cut-offs.
pub(super) fn ranking() -> RankingMetrics {
    let row = |system: &str, k: u32, mean: f64, p: Option<f64>| {
        let difference = p.map(|_| mean - 0.1);
        RankingMetric {
            system: system.to_owned(),
            baseline: system == "popular",
            metric: "ndcg".to_owned(),
            k,
            mean,
            low: Some(mean - 0.01),
            high: Some(mean + 0.01),
            best_baseline: "popular".to_owned(),
            difference,
            difference_low: difference.map(|difference| difference - 0.01),
            difference_high: difference.map(|difference| difference + 0.01),
            p,
            seeds: 5,
            users: 900,
            missing: if system == "als" { 0.5 } else { 0.0 },
        }
    };
    let at = |k| [row("als", k, 0.14, Some(0.0001)), row("popular", k, 0.1, None), row("a2c", k, 0.095, Some(0.3))];
    RankingMetrics([10, 20].into_iter().flat_map(at).collect())
}

pub(super) fn metrics() -> Metrics {
    let mut metrics = Vec::new();
    for player in &PLAYERS {
        let left = ((30.0 - player.length) / 22.0).min(1.0);
        let measures = [
            ("return_inclusive", player.mean, player.half),
            ("return_exclusive", player.mean - 3.0 * left, player.half),
            ("length", player.length, 0.1 * left),
            ("reward_per_step", player.mean / player.length, 0.0),
            ("coverage", player.coverage, 0.0),
            ("distinct_items", player.length - left, 0.0),
            ("end_similar", left * 0.9, 0.0),
            ("end_low_reward", left * 0.1, 0.0),
            ("end_horizon", 1.0 - left, 0.0),
        ];
        metrics.extend(measures.map(|(metric, mean, half)| Metric {
            policy: player.name.to_owned(),
            role: player.role,
            privileged: player.remark.starts_with("privileged"),
            remark: player.remark.to_owned(),
            metric: metric.to_owned(),
            mean,
            low: mean - half,
            high: mean + half,
            seeds: player.seeds,
            episodes: player.seeds * player.users,
        }));
    }
    Metrics { rows: metrics, missing: Vec::new() }
}

fn rollouts() -> Rollouts {
    let mut noise = Noise(7);
    let mut rollouts = Vec::new();
    for player in &PLAYERS {
        for user in 0..player.users {
            // No reward is above 5, and nobody's below 1: what would lie outside is mirrored back inside.
            let drawn = (player.mean + player.spread * noise.normal() - 2.0).abs() + 2.0;
            let inclusive = if drawn > 149.0 { 298.0 - drawn } else { drawn };
            let early = player.length < 10.0;
            rollouts.push(Rollout {
                policy: player.name.to_owned(),
                cell: String::new(),
                user,
                length: if early { 8 } else { 30 },
                return_inclusive: inclusive,
                return_exclusive: inclusive,
                distinct_items: 30,
                diversity: 0.5,
                novelty: 6.0,
                top_category: None,
                return_training_world: None,
                end: if early { Termination::Similar } else { Termination::Horizon },
            });
        }
    }
    Rollouts(rollouts)
}

fn curves() -> Vec<Named<Curves>> {
    let mut noise = Noise(11);
    let mut curves = Vec::new();
    for seed in 0..5 {
        let mut value = Curves::default();
        for i in 0..80u64 {
            let done = i as f64 / 80.0;
            let mut push = |series: &str, level: f64, spread: f64| {
                value.push(series, i * 500, level + spread * noise.normal());
            };
            push("return", 136.0 - 112.0 * (-5.0 * done).exp(), 2.5);
            push("entropy", 6.8 * (-2.2 * done).exp() + 0.4, 0.12);
            push("loss.value", 42.0 * (-4.0 * done).exp() + 3.0, 1.2);
            push("loss.imitation", 3.1 * (-1.5 * done).exp() + 0.9, 0.05);
        }
        curves.push(Named { name: "policy".to_owned(), cell: format!("seed={seed}"), value });
    }
    let mut value = Curves::default();
    for i in 0..120u64 {
        let done = i as f64 / 120.0;
        value.push("accuracy", i, 0.5 + 0.32 * (-1.5 * done).exp() + 0.012 * noise.normal());
        value.push("loss", i, 0.69 - 0.2 * (-1.5 * done).exp() + 0.008 * noise.normal());
    }
    curves.push(Named { name: "reward".to_owned(), cell: String::new(), value });
    curves
}

fn items() -> Items {
    Items {
        id: (1..=TITLES.len()).map(|id| id.to_string()).collect(),
        title: TITLES.iter().map(|&title| title.to_owned()).collect(),
        year: (0..TITLES.len()).map(|i| Some(1977 + i as i32)).collect(),
        genres: vec![vec!["Drama".to_owned()]; TITLES.len()],
        ..Items::default()
    }
}

fn demonstrations() -> Demonstrations {
    let mut noise = Noise(3);
    let trajectory = |user: u32| {
        let length = 8 + 2 * user % 7;
        let steps = (0..length).map(|_| {
            let first = (noise.next() * 10.0) as u32;
            let candidates: Vec<u32> = (first..first + 10).collect();
            let place = (noise.next() * noise.next() * 10.0) as usize;
            Step {
                item: candidates[place],
                reward: (3.2 + 0.5 * noise.normal()) as f32,
                scores: candidates.iter().map(|_| -(noise.next() as f32) * 4.0).collect(),
                candidates,
                call: String::new(),
            }
        });
        let steps: Vec<Step> = steps.collect();
        Trajectory {
            user,
            steps,
            end: if user.is_multiple_of(3) { Termination::Horizon } else { Termination::Similar },
        }
    };
    Demonstrations::new((0..16).map(trajectory).collect())
}

fn comparisons() -> Comparisons {
    let learned = PLAYERS.iter().filter(|player| player.role != RowRole::Baseline);
    let pairs = learned.flat_map(|a| PLAYERS.iter().filter(move |b| b.name != a.name).map(move |b| (a, b)));
    let compare = |(a, b): (&Player, &Player)| {
        let (difference, half) = (a.mean - b.mean, a.half + b.half + 0.5);
        let chance = (0.5 + difference / 60.0).clamp(0.0, 1.0);
        Comparison {
            policy: a.name.to_owned(),
            other: b.name.to_owned(),
            metric: "return_inclusive".to_owned(),
            difference,
            low: difference - half,
            high: difference + half,
            p: crate::ratings::normal_p(difference / half * 1.959_964),
            probability_of_improvement: chance,
            probability_of_improvement_low: (chance - 0.03).max(0.0),
            probability_of_improvement_high: (chance + 0.03).min(1.0),
            seeds: a.seeds.min(b.seeds),
            users: a.users.min(b.users),
        }
    };
    Comparisons(pairs.map(compare).collect())
}

fn profiles() -> Profiles {
    let point = |player: &Player, threshold: f64| {
        let share = 1.0 / (1.0 + ((threshold - player.mean) / (player.spread * 0.55)).exp());
        let (low, high) = ((share - 0.03).max(0.0), (share + 0.03).min(1.0));
        ProfilePoint { policy: player.name.to_owned(), threshold, share, low, high }
    };
    Profiles(PLAYERS.iter().flat_map(|player| (0..51).map(move |i| point(player, 3.0 * f64::from(i)))).collect())
}

fn estimates() -> Estimates {
    let estimate = |policy: &str, estimator: &str, value: f64, sample: f64, remark: &str| Estimate {
        policy: policy.to_owned(),
        cell: "seed=0".to_owned(),
        estimator: estimator.to_owned(),
        value,
        low: value - 8.0 / sample,
        high: value + 8.0 / sample,
        effective_sample_size: sample,
        rows: 20_000,
        conclusive: sample > 20.0,
        remark: remark.to_owned(),
    };
    let few = "fewer than 20 interactions carry the estimate";
    Estimates(vec![
        estimate("a2c", "ips", 4.9, 6.0, few),
        estimate("a2c", "doubly_robust", 3.94, 140.0, ""),
        estimate("bc", "ips", 3.2, 11.0, few),
        estimate("bc", "doubly_robust", 3.71, 210.0, "logging policy estimated from popularity"),
    ])
}

fn calibration() -> Calibration {
    let bin = |model: &str, bin: u32, slope: f64, deviation: f64| {
        let predicted = 2.1 + 0.3 * f64::from(bin);
        let observed = 3.4 + slope * (predicted - 3.4);
        CalibrationBin { model: model.to_owned(), bin, count: 2000, predicted, observed, deviation, error: 0.95 }
    };
    Calibration(["mean", "member0"].iter().flat_map(|model| (0..9).map(move |i| bin(model, i, 0.92, 0.6))).collect())
}

fn rewards() -> RewardPairs {
    let mut noise = Noise(5);
    let mut pair = |series: &str, slope: f64| {
        let true_reward = (3.2 + 0.9 * noise.normal()).clamp(1.0, 5.0);
        RewardPair {
            series: series.to_owned(),
            learned: slope * true_reward + 0.6 * noise.normal(),
            true_reward,
            of_truth: true,
        }
    };
    let demonstrated: Vec<_> = (0..240).map(|_| pair("demonstrations", 0.7)).collect();
    RewardPairs(demonstrated.into_iter().chain((0..900).map(|_| pair("generator", 0.1))).collect())
}

/// A run without stages.
pub(super) fn ran() -> RunSummary {
    RunSummary {
        id: "20250131T120000Z-4242".to_owned(),
        experiment: "toy".to_owned(),
        status: "ok".to_owned(),
        command: "apprentice run x.yaml".to_owned(),
        host: "desk".to_owned(),
        machine: "linux x86_64, 2 cores".to_owned(),
        program: "apprentice 0.1.0".to_owned(),
        started: "2025-01-31T12:00:00Z".to_owned(),
        seconds: 65.0,
        jobs: 2,
        threads: 2,
        config: "name: toy\n".to_owned(),
        stages: Vec::new(),
    }
}

/// A stage that read and made contents of these digests.
pub(super) fn stage(name: &str, kind: &str, inputs: &[(&str, &str)], made: &[&str]) -> RunSummaryStage {
    let input = |&(port, digest): &(&str, &str)| RunSummaryInput {
        port: port.to_owned(),
        named: None,
        digest: digest.to_owned(),
    };
    let file = |digest: &&str| pipeline::report::RunSummaryFile {
        stage: name.to_owned(),
        port: "out".to_owned(),
        kind: "any".to_owned(),
        extension: "parquet".to_owned(),
        digest: (*digest).to_owned(),
        object: std::path::PathBuf::new(),
    };
    RunSummaryStage {
        name: name.to_owned(),
        kind: kind.to_owned(),
        status: "ran".to_owned(),
        seconds: 1.0,
        made_in_seconds: Some(1.0),
        made_by: None,
        version: Some(1),
        config: serde_json::Value::Null,
        inputs: inputs.iter().map(input).collect(),
        assets: vec![RunSummaryAsset {
            name: "ml-100k".to_owned(),
            origin: "pip x".to_owned(),
            digest: "ab12".to_owned(),
        }],
        notes: std::collections::BTreeMap::new(),
        files: made.iter().map(file).collect(),
    }
}
