//! What `evaluate` reads and writes.

use pipeline::Many;

use crate::artifact::{
    Candidates, Comparisons, Demonstrations, Interactions, LlmUsage, Metrics, PolicyFile, Profiles, Rollouts, Steps,
    World,
};

pipeline::ports! {
    /// What is evaluated, and where.
    pub struct Inputs {
        /// The evaluation world: of another model family than the training world.
        world: World,
        /// The training log, from which popularity is computed.
        train: Interactions,
        /// The candidates of the retriever, for the row `retriever top-1`.
        candidates: Option<Candidates>,
        /// The policies; those of one name are the training seeds of one row.
        policies: Many<PolicyFile>,
        /// Episodes of language models in the evaluation world; each model has a row.
        teacher: Many<Demonstrations>,
        /// Calls and tokens per episode of these models, from the same stages by the same names.
        llm_usage: Many<LlmUsage>,
        /// The training world: its reward for the same episodes is reported beside that of the evaluation world, and the learned
        /// baselines are trained in it.
        training_world: Option<World>,
        /// Fitted worlds whose optimal plans are evaluated, each in a row of its own: the return of perfect planning in that
        /// world, without learning. Worlds of one name are the seeds of one row.
        planning_worlds: Many<World>,
        /// The demonstrations from which the policies learned; behaviour cloning is trained on them where no policy is of `rl.bc`.
        demonstrations: Option<Demonstrations>,
        /// The validation world, which selects checkpoints.
        validation: Option<World>,
        /// Only users in this log are evaluated, in every row of the table; all users where absent.
        eval_users: Option<Interactions>,
    }
}

pipeline::ports! {
    /// The results.
    pub struct Outputs {
        /// The table.
        metrics: Metrics,
        /// One row per evaluated episode.
        rollouts: Rollouts,
        /// One row per step.
        steps: Steps,
        /// Each learned row compared with each other row.
        comparisons: Comparisons,
        /// Performance profiles.
        profiles: Profiles,
    }
}
