//! A fitted world that pays less where its models do not know: what offline learners should be trained in.
//!
//! `mopo`: r = r̂ − λ·max_k σ_k (Yu et al. 2020, arXiv 2005.13239: σ_k is what the k-th model states of itself)
//! `dorl`: r = max(0, r̂ − λ_σ·σ − min r̂ + λ_H·Σ_{k ∈ {1, 2}} H_k) (Gao et al. 2023, arXiv 2307.04571)
//!
//! A learner in a plain fitted world finds what its models imagine; here that costs it. Pessimism alone drives it to what the
//! log has most of and people tire of that, so DORL also pays for sessions after which anything may come: H_k is the entropy
//! of the next item in the log after the last k ones. It depends on where a session has come to and not on the item, so
//! it does not change which item is best at a turn, but where it pays to go. Users, items, distances and quit rules stay those
//! of the fitted world; a threshold of low rewards moves with them, and reads r̂ less the penalty alone. The vectors that
//! policies start from are of the new rewards. Left out: MOPO's short rollouts from logged states, as sessions are short.

use anyhow::{Context as _, Result};
use pipeline::{Context, Requirement, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::entropy::openness;
use super::vectors::factorise;
use crate::artifact::{Array, Demonstrations, World};

/// `world.pessimistic`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Pessimistic {
    /// What is taken from the rewards, and what is added: `mopo` or `dorl`.
    pub by: By,
    /// What σ is: how far the members of the ensemble are apart, or what they state.
    pub uncertainty: Uncertainty,
}

/// The forms of pessimism.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum By {
    /// r̂ − λ·σ.
    Mopo(Mopo),
    /// max(0, r̂ − λ_σ·σ − min r̂ + λ_H·Σ H_k).
    Dorl(Dorl),
}

impl Default for By {
    fn default() -> Self {
        Self::Mopo(Mopo::default())
    }
}

/// Settings of [`By::Mopo`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Mopo {
    /// λ: what a unit of σ costs, 0 or more; 1 by default, among the 0.5, 1 and 5 of the authors' tasks.
    pub penalty: f64,
}

impl Default for Mopo {
    fn default() -> Self {
        Self { penalty: 1.0 }
    }
}

/// Settings of [`By::Dorl`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Dorl {
    /// λ_σ: what a unit of σ costs, 0 or more; ours.
    pub penalty: f64,
    /// λ_H: what a session that is wholly open is paid a turn, for one and for two items back each, 0 or more. DORL's scripts:
    /// KuaiRec 5, KuaiRand 0.05; EasyRL4Rec's: Coat 3, MovieLens-1M 5.
    pub entropy: f64,
}

impl Default for Dorl {
    fn default() -> Self {
        Self { penalty: 1.0, entropy: 3.0 }
    }
}

/// What is taken for σ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Uncertainty {
    /// The deviation of the members' answers from their mean: what they do not know. Of any world with several members.
    #[default]
    Spread,
    /// The largest deviation that a member states, max_k σ_k, as MOPO and DORL have it; of `world.deepfm` with `gaussian: true`.
    /// It also holds how much people's answers vary, which no data would lessen.
    Stated,
}

pipeline::ports! {
    /// What is lowered, and by what.
    pub struct Inputs {
        /// A fitted world that says how sure it is.
        world: World,
        /// The log in its order, as `demonstrate.from_log` gives it; wanted where entropy pays.
        demonstrations: Option<Demonstrations>,
    }
}

pipeline::ports! {
    /// What comes out.
    pub struct Outputs {
        /// The world to train in; never one to judge in.
        world: World,
    }
}

impl Stage for Pessimistic {
    const KIND: &'static str = "world.pessimistic";
    /// 1: first.
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "lower a fitted world's rewards where it is unsure (MOPO, DORL)";
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn check(&self) -> Result<(), (String, String)> {
        let weights = match &self.by {
            By::Mopo(Mopo { penalty }) => vec![("by.mopo.penalty", *penalty)],
            By::Dorl(Dorl { penalty, entropy }) => vec![("by.dorl.penalty", *penalty), ("by.dorl.entropy", *entropy)],
        };
        match weights.into_iter().find(|(_, weight)| !(*weight >= 0.0 && weight.is_finite())) {
            Some((path, _)) => Err((path.to_owned(), "what a part counts for is 0 or more".to_owned())),
            None => Ok(()),
        }
    }

    fn requirements(&self) -> Vec<Requirement> {
        let By::Dorl(Dorl { entropy, .. }) = self.by else { return vec![] };
        let requirement = Requirement {
            setting: "by.dorl.entropy",
            port: "demonstrations",
            connected: true,
            why: format!("it is {entropy}, so the log must tell what follows what"),
            help: "connect `demonstrate.from_log` of the ratings that the world was fitted on, or set `entropy: 0`",
        };
        if entropy > 0.0 { vec![requirement] } else { vec![] }
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let mut world = inputs.world;
        let sigma = self.sigma(&world)?.data.clone();
        let (penalty, entropy) = match self.by {
            By::Mopo(Mopo { penalty }) => (penalty as f32, 0.0),
            By::Dorl(Dorl { penalty, entropy }) => (penalty as f32, entropy as f32),
        };
        let least = match self.by {
            By::Mopo(_) => 0.0,
            By::Dorl(_) => world.reward.data.iter().copied().fold(f32::INFINITY, f32::min),
        };
        world.reward.data.iter_mut().zip(&sigma).for_each(|(r, sigma)| *r -= penalty * sigma + least);
        world.rules.low_reward = world.rules.low_reward.map(|low| low - least);
        if entropy > 0.0 {
            let log = inputs.demonstrations.as_ref().context(
                "`by.dorl.entropy` is above 0, but no `demonstrations` are connected\nhelp: connect `demonstrate.from_log`, or set \
                 `entropy: 0`",
            )?;
            let mut open = openness(log, world.items())?;
            cx.note("entropy", told(&open));
            open.data.iter_mut().for_each(|h| *h *= entropy);
            world.bonus = Some(open);
        } else if matches!(self.by, By::Dorl(_)) {
            world.reward.data.iter_mut().for_each(|r| *r = r.max(0.0));
        }
        (world.user_vectors, world.item_vectors) = factorise(&world.reward, world.user_vectors.shape[1], cx)?;
        let mean = |data: &[f32]| data.iter().map(|&x| f64::from(x)).sum::<f64>() / data.len() as f64;
        cx.note("pessimism", format!("σ {:.3} on average, rewards now {:.3}", mean(&sigma), mean(&world.reward.data)));
        Ok(Outputs { world })
    }
}

impl Pessimistic {
    /// σ, `[U, I]`.
    fn sigma<'w>(&self, world: &'w World) -> Result<&'w Array> {
        match self.uncertainty {
            Uncertainty::Spread => world.deviation.as_ref().context(
                "the world does not say how far its models are apart\nhelp: connect one of several `members`, such as \
                 `world.deepfm` with `members: 5`",
            ),
            Uncertainty::Stated => world.stated.as_ref().context(
                "the world's models do not state how far they may be off\nhelp: connect `world.deepfm` with `gaussian: true`, or \
                 take `uncertainty: spread`",
            ),
        }
    }
}

/// How open it is on average what comes after two items.
fn told(open: &Array) -> String {
    let items = open.shape[0] - 1;
    let sum: f64 = (0..items).map(|last| open.row(last)[..items].iter().map(|&h| f64::from(h)).sum::<f64>()).sum();
    format!(
        "H_1 + H_2 is {:.3} on average after two items, and 2 where the log tells nothing",
        sum / (items * items) as f64
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::{Step, Termination, Trajectory};
    use crate::env::{Episodes, cluster_world};

    fn world() -> World {
        let mut world = cluster_world(&[5.0, 3.0], 1, 1, 10, 2);
        world.rules.similar_below = None;
        world.rules.low_reward = Some(2.0);
        world.deviation = Some(Array::new(&[2, 2], vec![0.0, 1.0, 2.0, 0.5]));
        world.stated = Some(Array::new(&[2, 2], vec![1.0; 4]));
        world
    }

    fn run(stage: &Pessimistic, world: World, demonstrations: Option<Demonstrations>) -> Result<World> {
        stage.check().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let cx = Context::detached(folder.path());
        Ok(stage.run(Inputs { world, demonstrations }, &cx)?.world)
    }

    fn logged(items: &[u32]) -> Demonstrations {
        let step = |&item: &u32| Step { item, reward: 1.0, candidates: vec![], scores: vec![], call: String::new() };
        let steps = items.iter().map(step).collect();
        Demonstrations { trajectories: vec![Trajectory { user: 0, steps, end: Termination::Horizon }] }
    }

    #[test]
    fn mopo_takes_the_uncertainty_from_the_rewards() {
        let by = By::Mopo(Mopo { penalty: 2.0 });
        let found = run(&Pessimistic { by: by.clone(), ..Pessimistic::default() }, world(), None).unwrap();
        assert_eq!(found.reward.data, [5.0, 1.0, 1.0, 2.0]);
        assert_eq!((found.rules.low_reward, &found.bonus), (Some(2.0), &None));
        assert_eq!((&found.distance, &found.distances), (&world().distance, &world().distances));
        let stated = run(&Pessimistic { by, uncertainty: Uncertainty::Stated }, world(), None).unwrap();
        assert_eq!(stated.reward.data, [3.0, 1.0, 3.0, 1.0]);
        assert_ne!(found.rewards_digest(), world().rewards_digest());
    }

    #[test]
    fn dorl_pays_for_what_is_open_and_never_less_than_nothing() {
        let dorl = |entropy| Pessimistic { by: By::Dorl(Dorl { penalty: 2.0, entropy }), ..Pessimistic::default() };
        let plain = run(&dorl(0.0), world(), None).unwrap();
        assert_eq!(plain.reward.data, [2.0, 0.0, 0.0, 0.0], "less 2σ and the smallest, 3; cut at 0");
        assert_eq!(plain.rules.low_reward, Some(-1.0));
        // After item 0 came 1, always, and after 0 and 1 nothing twice; after 1 came 0.
        let found = run(&dorl(0.5), world(), Some(logged(&[0, 1, 0, 1, 0]))).unwrap();
        let mut episodes = Episodes::new(&found, &[0, 1]);
        episodes.step(&[0, 1], &[0, 0]).unwrap();
        // 2 + ½·2 and −2 + ½·2, the latter cut; nothing was shown yet.
        assert_eq!((episodes.rewards(0), episodes.rewards(1)), (&[3.0][..], &[0.0][..]));
        episodes.step(&[0], &[0]).unwrap();
        // After 0: H_1 is 0, and 0 before it never was: ½·1.
        assert_eq!(episodes.rewards(0), [3.0, 2.5]);
        assert_ne!(found.rewards_digest(), plain.rewards_digest());
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = |stage: &Pessimistic, world: World| run(stage, world, None).unwrap_err().to_string();
        let unsure = World { deviation: None, stated: None, ..world() };
        let spread = Pessimistic::default();
        assert!(error(&spread, unsure.clone()).contains("how far its models are apart\nhelp: connect one of several"));
        let stated = Pessimistic { uncertainty: Uncertainty::Stated, ..Pessimistic::default() };
        assert!(error(&stated, unsure).contains("do not state how far they may be off\nhelp: connect `world.deepfm`"));
        let dorl = Pessimistic { by: By::Dorl(Dorl::default()), ..Pessimistic::default() };
        assert!(error(&dorl, world()).contains("no `demonstrations` are connected\nhelp: "));
        assert_eq!((dorl.requirements().len(), spread.requirements().len()), (1, 0));
        let foreign = run(&dorl, world(), Some(logged(&[0, 7]))).unwrap_err().to_string();
        assert!(foreign.contains("item 7") && foreign.contains("help: "), "{foreign}");
        let negative = Pessimistic { by: By::Mopo(Mopo { penalty: -1.0 }), ..Pessimistic::default() };
        assert_eq!(negative.check().unwrap_err().0, "by.mopo.penalty");
    }

    #[test]
    fn a_file_keeps_what_is_paid_beside_the_matrix() {
        let by = By::Dorl(Dorl::default());
        let world = run(&Pessimistic { by, ..Pessimistic::default() }, world(), Some(logged(&[0, 1]))).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("world");
        pipeline::Artifact::write(&world, &path).unwrap();
        assert_eq!(<World as pipeline::Artifact>::read(&path).unwrap(), world);
    }
}
