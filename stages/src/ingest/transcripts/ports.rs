//! What `ingest.transcripts` reads and writes.

use crate::artifact::{Calls, Demonstrations, Groundings, Interactions, Items, Users};

pipeline::ports! {
    /// A log of the same catalogue, whose numbers the outputs then have; without it the transcripts are numbered on their own.
    pub struct Inputs {
        /// The catalogue of the log. Recommendations of other items are dropped and counted.
        items: Option<Items>,
        /// The users of the log.
        users: Option<Users>,
        /// The whole log, in which the histories of the episodes are found.
        interactions: Option<Interactions>,
    }
}

pipeline::ports! {
    /// The content of the transcripts.
    pub struct Outputs {
        /// The recommended items with their rewards, without the steps at which users left.
        interactions: Interactions,
        /// The catalogue.
        items: Items,
        /// The users; `genre 1` to `genre 3` are the most common genres of their histories, where `users` is not connected.
        users: Users,
        /// The episodes with at least one step.
        demonstrations: Demonstrations,
        /// Prompts, thoughts and answers, including those without a recommendation (`{"failed": reason, "raw": text}`).
        calls: Calls,
        /// The match of each title that the model wrote, beside the match of the source.
        groundings: Groundings,
        /// The input `interactions`, followed by the histories of new users where the log has one rating for everything (times 0, 1,
        /// 2, …). Empty where it is not connected.
        log: Interactions,
        /// The rows of `log` that the episodes told the model as the user's history. Connect it as `test` of `split` with
        /// `by: predefined`: the part `train` is then the log without them. Empty where `interactions` is not connected.
        history: Interactions,
    }
}
