//! Warm starts: a training that begins from a trained policy instead of a new network.
//!
//! The network is the policy's own, with the vectors of users and items that it was trained on; the world of this training gives
//! rewards and rules. Optimisers, critics beside the policy and replay buffers are new. So a policy that was trained on demonstrations or in a
//! fitted world is deployed and learns on, as iALP's fine-tuned variant does (Wang et al. 2025, arXiv 2501.13816).

use anyhow::{Context as _, Result, ensure};
use candle_core::Device;

use super::NetworkConfig;
use super::policy_kinds::{Gives, LEARNERS};
use crate::artifact::{PolicyFile, World};
use crate::nn::ActorCritic;
use pipeline::ForbiddenSource;

/// Where the networks of a training come from.
pub struct Start<'a> {
    config: &'a NetworkConfig,
    world: &'a World,
    device: &'a Device,
    init: Option<&'a PolicyFile>,
}

impl<'a> Start<'a> {
    /// New networks of these settings; with `init` the policy's.
    ///
    /// # Errors
    /// When the policy is of another kind than `learner` makes, of another catalogue, or of other settings than `config`.
    pub fn new(
        learner: &str,
        config: &'a NetworkConfig,
        init: Option<&'a PolicyFile>,
        world: &'a World,
        device: &'a Device,
    ) -> Result<Self> {
        if let Some(init) = init {
            accept(learner, config, ("init", init), world)?;
        }
        Ok(Self { config, world, device, init })
    }

    /// The policy's at `init` where one is connected, else that of the policy at `reference`.
    ///
    /// # Errors
    /// See [`Start::new`].
    pub fn at_reference(
        learner: &str,
        config: &'a NetworkConfig,
        (init, reference): (Option<&'a PolicyFile>, &'a PolicyFile),
        world: &'a World,
        device: &'a Device,
    ) -> Result<Self> {
        let (port, begin) = init.map_or(("reference", reference), |init| ("init", init));
        accept(learner, config, (port, begin), world)?;
        Ok(Self { config, world, device, init: Some(begin) })
    }

    /// The network with that seed, or that of the policy.
    pub fn network(&self, seed: u64) -> Result<ActorCritic> {
        match self.init {
            Some(init) => ActorCritic::import_on(self.device, &init.0),
            None => self.config.build(self.world, seed, self.device),
        }
    }

    /// The policy that the training begins from.
    #[must_use]
    pub fn init(&self) -> Option<&'a PolicyFile> {
        self.init
    }
}

/// Whether a training may begin from the policy at that port.
fn accept(learner: &str, wanted: &NetworkConfig, (port, init): (&str, &PolicyFile), world: &World) -> Result<()> {
    let maker = init.origin()?.learner;
    let (own, other) = (begins_from(learner), Gives::of(&maker));
    ensure!(
        own == other,
        "the policy at `{port}` gives {} ({maker}), and {learner} begins from {own}\nhelp: connect a policy of a \
         learner whose policies give {own}",
        other.words(),
        own = own.words()
    );
    let network = ActorCritic::import(&init.0).with_context(|| format!("the policy at `{port}`"))?;
    let found = network.config();
    ensure!(
        (found.users, found.items) == (world.users(), world.items()),
        "the policy at `{port}` knows {} users and {} items, the world {} and {}\nhelp: train both in worlds that were made from one \
         ingest stage",
        found.users,
        found.items,
        world.users(),
        world.items()
    );
    let mut columns = wanted.item_features.clone();
    columns.sort();
    columns.dedup();
    let read = network.item_features();
    let other = [
        ("item_features", read == columns, serde_json::to_string(read)?),
        ("window", found.window == wanted.window, found.window.to_string()),
        ("hidden_size", found.hidden_size == wanted.hidden_size, found.hidden_size.to_string()),
        ("encoder", found.encoder == wanted.encoder, serde_json::to_string(&found.encoder)?),
        ("similar_fraction", found.similar_fraction == wanted.similar_fraction, found.similar_fraction.to_string()),
    ];
    if let Some((setting, _, value)) = other.iter().find(|(_, equal, _)| !equal) {
        anyhow::bail!(
            "the network of the policy at `{port}` has `{setting}: {value}`, and `network.{setting}` says otherwise\nhelp: set \
             `network: {{ {setting}: {value} }}`, as where the policy was trained"
        );
    }
    Ok(())
}

/// The learners whose policies have no place at `port` of `learner`, for the experiment to be refused before anything runs.
#[must_use]
pub fn forbidden(port: &'static str, learner: &str) -> Vec<ForbiddenSource> {
    let own = begins_from(learner);
    let rule = |&(made_by, gives): &(&'static str, Gives)| ForbiddenSource {
        port,
        made_by,
        why: match gives {
            Gives::Logits => "its policy gives logits, from which this training cannot begin",
            _ => "its policy gives something else than the logits or values that this training begins from",
        },
        help: "connect a policy of the same kind of learner: logits (`rl.bc`, `rl.a2c` and most others), values (`rl.dqn`, `rl.cql`), or \
               the own kind of `rl.bcq`, `rl.c51` and `rl.decision_transformer`",
    };
    LEARNERS.iter().filter(|(_, gives)| *gives != own).map(rule).collect()
}

/// What a learner begins from: a mixture begins from one policy, and so is none.
fn begins_from(learner: &str) -> Gives {
    match Gives::of(learner) {
        Gives::Mixture => Gives::Logits,
        gives => gives,
    }
}

#[cfg(test)]
mod tests {
    use pipeline::{Context, Stage as _};

    use super::*;
    use crate::env::cluster_world;
    use crate::rl::conformance::{demonstrated_cycles, greedy_returns, small_network};
    use crate::rl::inputs::{Offline, Online, OnlineWithDemos, OnlineWithReference};
    use crate::rl::{
        A2c, Bcq, BehaviourCloning, C51, Cql, Crr, Dqn, IlRec, Iql, Outputs, Ppo, Reinforce, Sac, Sqn, bc, ilrec,
    };

    fn run<S: pipeline::Stage<Outputs = Outputs>>(stage: &S, inputs: S::Inputs) -> Result<Outputs> {
        let folder = tempfile::tempdir().unwrap();
        stage.run(inputs, &Context::detached(folder.path()))
    }

    fn world() -> World {
        cluster_world(&[5.0, 4.0, 3.0], 2, 2, 30, 4)
    }

    /// Who copies the cycle of all clusters returns 120 of 122.
    fn copied() -> PolicyFile {
        let stage = BehaviourCloning { network: small_network(), ..BehaviourCloning::default() };
        let demonstrations = demonstrated_cycles(&world(), &[&[0, 2, 4]]);
        run(&stage, bc::Inputs::new(world(), demonstrations)).unwrap().policy
    }

    fn refined(iterations: u64) -> A2c {
        A2c { n_iterations: iterations, bc_coef: 0.0, network: small_network(), ..A2c::default() }
    }

    #[test]
    fn a_training_goes_on_from_where_the_policy_is() {
        let init = copied();
        let begun = |iterations| {
            let inputs = OnlineWithDemos { init: Some(init.clone()), ..OnlineWithDemos::new(world()) };
            run(&refined(iterations), inputs).unwrap()
        };
        let first = |outputs: &Outputs| outputs.curves.0.iter().find(|point| point.series == "return").unwrap().value;
        let new = first(&run(&refined(1), OnlineWithDemos::new(world())).unwrap());
        let none = begun(0).policy;
        assert_eq!(none.0.arrays, init.0.arrays, "no update changes nothing");
        assert!(!none.origin().unwrap().untrained, "it was trained before");
        let few = begun(5);
        assert!(first(&few) > 2.0 * new, "the first episodes return {}, and those of a new network {new}", first(&few));
        assert!(greedy_returns(&few.policy, &world()).iter().all(|&found| found >= 120.0 - 1e-3));
        assert_ne!(few.policy.0.arrays, init.0.arrays);
    }

    /// What a learner makes of a policy of its own kind without an update is that policy; with one it is another.
    macro_rules! begins_from_its_own {
        ($($stage:ident { $length:ident $(, $field:ident: $value:expr)* } from $inputs:expr;)*) => {$({
            let stage = |$length| $stage { $length, network: small_network() $(, $field: $value)*, ..$stage::default() };
            let begin = |length, init| run(&stage(length), $inputs(init)).unwrap().policy;
            let first = begin(2, None);
            let second = begin(0, Some(first.clone()));
            assert!(second.0.arrays == first.0.arrays, "{} begins from its policy", $stage::KIND);
            let origin = second.origin().unwrap();
            assert_eq!((origin.untrained, origin.learned_in_before.len()), (false, 1), "{}", $stage::KIND);
            assert!(begin(1, Some(first.clone())).0.arrays != first.0.arrays, "{} learns on", $stage::KIND);
        })*};
    }

    #[test]
    fn every_learner_begins_from_a_policy_of_its_own() {
        let small = || cluster_world(&[5.0, 4.0, 3.0], 2, 2, 6, 2);
        let demos = || demonstrated_cycles(&small(), &[&[0, 2, 4]]);
        let online = |init| Online { init, ..Online::new(small()) };
        let guided = |init| OnlineWithReference { init, ..OnlineWithReference::new(small()) };
        let taught = |init| OnlineWithDemos { init, demonstrations: Some(demos()), ..OnlineWithDemos::new(small()) };
        let offline = |init| Offline { init, ..Offline::new(small(), demos()) };
        begins_from_its_own! {
            A2c { n_iterations, episodes_per_update: 2 } from taught;
            Ppo { n_iterations, episodes_per_update: 2 } from taught;
            Reinforce { n_iterations, episodes_per_update: 2 } from online;
            Sac { n_iterations, episodes_per_update: 2 } from guided;
            Dqn { n_iterations, episodes_per_update: 2 } from guided;
            C51 { n_iterations, episodes_per_update: 2, n_atoms: 5 } from online;
            Bcq { n_gradient_steps } from offline;
            Cql { n_gradient_steps } from offline;
            Crr { n_gradient_steps } from offline;
            Iql { n_gradient_steps } from offline;
            Sqn { n_gradient_steps } from offline;
            BehaviourCloning { n_epochs } from |init| bc::Inputs { init, ..bc::Inputs::new(small(), demos()) };
            IlRec { n_iterations, episodes_per_update: 2 } from |init| ilrec::Inputs { init, ..ilrec::Inputs::new(small(), demos()) };
        }
        let atoms = C51 { n_iterations: 1, n_atoms: 7, network: small_network(), ..C51::default() };
        let five = C51 { n_atoms: 5, ..atoms.clone() };
        let init = run(&five, online(None)).unwrap().policy;
        let error = format!("{:#}", run(&atoms, online(Some(init))).err().unwrap());
        assert!(error.contains("has 5 atoms") && error.contains("help: set `n_atoms: 5`"), "{error}");
    }

    #[test]
    fn a_policy_remembers_every_world_that_it_learned_in() {
        let other = cluster_world(&[4.0, 4.5, 3.0], 2, 2, 30, 4);
        let inputs = OnlineWithDemos { init: Some(copied()), ..OnlineWithDemos::new(other.clone()) };
        let origin = run(&refined(1), inputs).unwrap().policy.origin().unwrap();
        assert_eq!(origin.learned_in, other.rewards_digest());
        assert_eq!(origin.learned_in_before, [world().rewards_digest()]);
        let alone = run(&refined(1), OnlineWithDemos::new(other)).unwrap().policy;
        assert!(alone.origin().unwrap().learned_in_before.is_empty());
        assert!(!alone.0.about.contains("learned_in_before"), "a file without a warm start is as before");
        // Also those in which what it copies was searched for.
        let third = cluster_world(&[2.0, 2.5, 3.0], 2, 2, 30, 4);
        let shown = demonstrated_cycles(&world(), &[&[0, 2, 4]]).searched("demonstrate.search", &third);
        let stage = BehaviourCloning { n_epochs: 1, network: small_network(), ..BehaviourCloning::default() };
        let inputs = bc::Inputs { init: Some(copied()), ..bc::Inputs::new(world(), shown) };
        let mut before = run(&stage, inputs).unwrap().policy.origin().unwrap().learned_in_before;
        let mut expected = vec![world().rewards_digest(), third.rewards_digest()];
        before.sort();
        expected.sort();
        assert_eq!(before, expected);
    }

    #[test]
    fn what_does_not_fit_is_named_with_the_setting() {
        let init = copied();
        let error = |stage: &A2c, world: World, init: PolicyFile| {
            let inputs = OnlineWithDemos { init: Some(init), ..OnlineWithDemos::new(world) };
            format!("{:#}", run(stage, inputs).err().unwrap())
        };
        let wide = A2c { network: NetworkConfig { hidden_size: 7, ..small_network() }, ..refined(1) };
        let found = error(&wide, world(), init.clone());
        assert!(
            found.contains("has `hidden_size: 32`") && found.contains("help: set `network: { hidden_size: 32 }`"),
            "{found}"
        );
        let more = cluster_world(&[5.0, 4.0, 3.0, 2.0], 2, 2, 30, 4);
        let found = error(&refined(1), more, init.clone());
        assert!(found.contains("knows 4 users and 6 items, the world 4 and 8"), "{found}");
        let dqn = Dqn { n_iterations: 1, network: small_network(), ..Dqn::default() };
        let found = format!(
            "{:#}",
            run(&dqn, OnlineWithReference { init: Some(init), ..OnlineWithReference::new(world()) }).err().unwrap()
        );
        assert!(found.contains("gives logits of a policy (rl.bc), and rl.dqn begins from values\nhelp: "), "{found}");
    }
}
