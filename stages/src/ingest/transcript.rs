//! An episode as somebody else recorded it, before its names mean anything here.

/// One recorded episode.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Transcript {
    /// The user's id in the source.
    pub user: String,
    /// What the model was told first.
    pub question: String,
    /// Titles that the user had seen before.
    pub history: Vec<String>,
    /// Its recommendations, in order.
    pub turns: Vec<Turn>,
}

/// One recommendation.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Turn {
    /// What the model thought, as recorded; may be empty.
    pub thought: String,
    /// The item it named; where it recommended nothing, what it said instead.
    pub said: String,
    /// The title that the source took it for; `said` itself where that was in its catalogue. `None` where it took none.
    pub title: Option<String>,
    /// The answer as it came, where the source keeps it.
    pub raw: Option<String>,
    /// What the model was told of it.
    pub observed: String,
    pub outcome: Outcome,
    /// Line in the episode, from 1.
    pub line: u64,
}

impl Transcript {
    /// The turns that recommended something.
    pub fn recommendations(&self) -> impl Iterator<Item = &Turn> {
        self.turns.iter().filter(|turn| !matches!(turn.outcome, Outcome::Failed(_)))
    }
}

impl Turn {
    /// The name that says which item it was: the recorded one where there is one.
    pub fn name(&self) -> &str {
        self.title.as_deref().unwrap_or(&self.said)
    }
}

/// What came of a recommendation.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome {
    /// Stayed and paid this.
    Stays(f64),
    /// Left. What the source writes as a reward then is a mark (−1000 in BiLLP), no rating.
    Leaves,
    /// There was none, for this reason.
    Failed(String),
}

/// Where every line that is an action went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TranscriptCounts {
    pub episodes: u64,
    pub actions: u64,
    /// Recommendations at which the user stayed.
    pub stays: u64,
    /// Recommendations at which the user left.
    pub leaves: u64,
    /// Recommendations that named nothing in the catalogue and were replaced by the recorder.
    pub regrounded: u64,
    /// Actions that recommend nothing.
    pub no_recommendation: u64,
    /// Of those, the ones in which the model wrote an outcome itself.
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
