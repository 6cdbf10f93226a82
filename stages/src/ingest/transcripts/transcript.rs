//! A recorded episode, before its titles are matched to the catalogue.

/// One recorded episode.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::ingest) struct Transcript {
    /// The user's id in the source.
    pub user: String,
    /// The first prompt of the model.
    pub question: String,
    /// Titles of the user's history.
    pub history: Vec<String>,
    /// The turns, in order.
    pub turns: Vec<Turn>,
}

/// One turn.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::ingest) struct Turn {
    /// The recorded thought; may be empty.
    pub thought: String,
    /// The title that the model wrote; its text where it recommended nothing.
    pub said: String,
    /// The catalogue title that the source matched it to; `said` itself where that is one. `None` where the source matched none.
    pub title: Option<String>,
    /// The raw answer, where the source records it.
    pub raw: Option<String>,
    /// The observation that the model received.
    pub observed: String,
    pub outcome: Outcome,
    /// Line in the episode, from 1.
    pub line: u64,
}

impl Transcript {
    /// The turns with a recommendation.
    pub fn recommendations(&self) -> impl Iterator<Item = &Turn> {
        self.turns.iter().filter(|turn| !matches!(turn.outcome, Outcome::Failed(_)))
    }
}

impl Turn {
    /// The title that identifies the item: the recorded one where there is one.
    pub fn name(&self) -> &str {
        self.title.as_deref().unwrap_or(&self.said)
    }
}

/// The outcome of a turn.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::ingest) enum Outcome {
    /// The user stayed; the reward.
    Stays(f64),
    /// The user left. The recorded reward (−1000 in BiLLP) is then a marker, not a rating.
    Leaves,
    /// No recommendation, for this reason.
    Failed(String),
}

/// Counts of the actions of transcripts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::ingest) struct TranscriptCounts {
    pub episodes: u64,
    pub actions: u64,
    /// Recommendations at which the user stayed.
    pub stays: u64,
    /// Recommendations at which the user left.
    pub leaves: u64,
    /// Recommendations outside of the catalogue, which the source replaced.
    pub regrounded: u64,
    /// Actions without a recommendation.
    pub no_recommendation: u64,
    /// Of those, the ones in which the model wrote the outcome itself.
    pub claimed: u64,
}

impl TranscriptCounts {
    pub fn add(&mut self, other: Self) {
        self.episodes += other.episodes;
        self.actions += other.actions;
        self.stays += other.stays;
        self.leaves += other.leaves;
        self.regrounded += other.regrounded;
        self.no_recommendation += other.no_recommendation;
        self.claimed += other.claimed;
    }
}
