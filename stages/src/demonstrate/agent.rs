//! The roles of the language model, and how it states a recommendation.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ground::MatchSettings;
use crate::llm::{LlmConfig, RateBy};

/// The roles that one frozen language model plays (BiLLP, arXiv 2403.00843; IL-Rec, arXiv 2510.13229).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Agent {
    /// The actor alone.
    #[default]
    ActOnly,
    /// A planner writes a thought before each action (ReAct, arXiv 2210.03629).
    React,
    /// Also a reflector, which writes a text after each episode; the texts are remembered (Reflexion, arXiv 2303.11366).
    Reflexion,
    /// Also a critic, which estimates the value of each state; the advantages of actions are remembered.
    Full,
}

impl Agent {
    /// Whether a planner writes a thought before each action.
    pub fn plans(self) -> bool {
        self != Self::ActOnly
    }
    /// Whether a reflector writes a text after each episode.
    pub fn reflects(self) -> bool {
        matches!(self, Self::Reflexion | Self::Full)
    }
    /// Whether a critic values each action.
    pub fn criticises(self) -> bool {
        self == Self::Full
    }
}

/// How the actor states its recommendation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// It chooses one of the retriever's candidates.
    #[default]
    Choose,
    /// It writes a title, which is matched to the catalogue.
    Write(TitleGeneration),
    /// It rates each item of the catalogue once, for no user in particular, as the stage `rate` does. Each turn recommends the
    /// best item of the whole catalogue that the episode has not shown, without a call. Needs `agent: act_only`.
    Rate(CatalogueRating),
}

/// How the catalogue is rated and ranked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CatalogueRating {
    /// The questions, as in the stage `rate`.
    pub by: RateBy,
    /// Weight of the model's scores against the retriever's, 0 to 1, as in the stage `retrieve.item_scores`. 1 by default: the
    /// model's scores alone.
    pub weight: f64,
}

impl Default for CatalogueRating {
    fn default() -> Self {
        Self { by: RateBy::default(), weight: 1.0 }
    }
}

/// How a generated title becomes an item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TitleGeneration {
    /// Maximum number of attempts to name an item that may be shown, at least 1. After the last one the retriever's first candidate
    /// is shown.
    pub max_attempts: u64,
    /// Maximum length of a title, in tokens.
    pub max_tokens: u32,
    /// How a title is matched to the catalogue.
    pub ground: MatchSettings,
}

impl Default for TitleGeneration {
    fn default() -> Self {
        Self { max_attempts: 5, max_tokens: 24, ground: MatchSettings::default() }
    }
}

/// Settings of the roles. A setting has no effect where `agent` does not play its role.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RoleSettings {
    /// Sampling temperature of generated texts: 0 is greedy decoding; BiLLP uses 0.5.
    pub temperature: f64,
    /// Maximum length of a thought, in tokens.
    pub max_thought_tokens: u32,
    /// Maximum length of a reflection, in tokens.
    pub max_reflection_tokens: u32,
    /// γ of the critic's advantage r + γ·v_t − v_{t−1}.
    pub gamma: f64,
    /// Number of users per batch. All episodes of a batch recall the memory as it was before the batch; their own memories are
    /// added after it, in the order of users. The memory therefore does not depend on the order in which episodes end.
    pub memory_batch_size: usize,
    /// Number of most similar users whose memories an agent that reflects recalls.
    pub n_neighbors: usize,
    /// What the similarity of users is computed from.
    pub similarity: UserSimilarity,
    /// Minimum similarity of a recalled user, as a cosine from −1 to 1.
    pub min_similarity: f64,
}

/// What the similarity of users is computed from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UserSimilarity {
    /// The world's user vectors, which it fitted or derived from features.
    #[default]
    Vectors,
    /// Embeddings of the users' profiles, the items they liked, by the stage's `embedder` or the server's embedding model
    /// (`llm: { openai: { embedding_model: … } }`). Users without a profile are similar to nobody.
    Texts,
}

impl Default for RoleSettings {
    fn default() -> Self {
        Self {
            temperature: 0.5,
            max_thought_tokens: 32,
            max_reflection_tokens: 64,
            gamma: 0.9,
            memory_batch_size: 10,
            n_neighbors: 2,
            similarity: UserSimilarity::Vectors,
            min_similarity: -1.0,
        }
    }
}

impl RoleSettings {
    /// Ranges that no type expresses.
    pub fn check(&self) -> Result<(), (String, String)> {
        let wrong = |path: &str, wanted: &str| Err((path.to_owned(), wanted.to_owned()));
        if !(0.0..=2.0).contains(&self.temperature) {
            return wrong("temperature", "0 to 2");
        }
        if self.max_thought_tokens == 0 {
            return wrong("max_thought_tokens", "at least one token; `agent: act_only` writes no thoughts");
        }
        if self.max_reflection_tokens == 0 {
            return wrong("max_reflection_tokens", "at least one token");
        }
        if !(0.0..=1.0).contains(&self.gamma) {
            return wrong("gamma", "a discount between 0 and 1");
        }
        if self.memory_batch_size == 0 {
            return wrong("memory_batch_size", "at least one user per batch");
        }
        if !(-1.0..=1.0).contains(&self.min_similarity) {
            return wrong("min_similarity", "a cosine from -1 to 1");
        }
        Ok(())
    }
}

impl Actor {
    /// Ranges that no type expresses, and what the model and the other roles must be.
    pub fn check(&self, llm: &LlmConfig, agent: Agent) -> Result<(), (String, String)> {
        let wrong = |path: &str, wanted: &str| Err((path.to_owned(), wanted.to_owned()));
        match self {
            Self::Choose => Ok(()),
            Self::Write(generation) => {
                if generation.max_attempts == 0 {
                    return wrong("write.max_attempts", "at least one attempt");
                }
                if generation.max_tokens == 0 {
                    return wrong("write.max_tokens", "at least one token");
                }
                generation.ground.check().map_err(|(path, wanted)| (format!("write.ground.{path}"), wanted))
            }
            Self::Rate(rating) => {
                if agent != Agent::ActOnly {
                    return wrong(
                        "rate",
                        "an actor that is asked nothing in an episode has no other role: `agent: act_only`",
                    );
                }
                if !(0.0..=1.0).contains(&rating.weight) {
                    return wrong("rate.weight", "a weight between 0 and 1");
                }
                rating.by.check(llm).map_err(|(path, wanted)| (format!("rate.by.{path}"), wanted))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_type_can_say_is_refused_by_its_own_name() {
        let refused = |change: fn(&mut RoleSettings)| {
            let mut settings = RoleSettings::default();
            change(&mut settings);
            settings.check().unwrap_err().0
        };
        assert_eq!(refused(|s| s.temperature = f64::NAN), "temperature");
        assert_eq!(refused(|s| s.max_thought_tokens = 0), "max_thought_tokens");
        assert_eq!(refused(|s| s.max_reflection_tokens = 0), "max_reflection_tokens");
        assert_eq!(refused(|s| s.gamma = 1.1), "gamma");
        assert_eq!(refused(|s| s.memory_batch_size = 0), "memory_batch_size");
        assert_eq!(refused(|s| s.min_similarity = 2.0), "min_similarity");
        let llm = serde_json::from_value(serde_json::json!({ "gguf": { "asset": "toy" } })).unwrap();
        let refused_actor = |actor: &Actor, agent| actor.check(&llm, agent).unwrap_err().0;
        let generation = |change: fn(&mut TitleGeneration)| {
            let mut generation = TitleGeneration::default();
            change(&mut generation);
            refused_actor(&Actor::Write(generation), Agent::Full)
        };
        assert_eq!(generation(|s| s.max_attempts = 0), "write.max_attempts");
        assert_eq!(generation(|s| s.max_tokens = 0), "write.max_tokens");
        assert_eq!(generation(|s| s.ground.trigram = 0.0), "write.ground.trigram");
        let rating = |weight| Actor::Rate(CatalogueRating { weight, ..CatalogueRating::default() });
        assert_eq!(refused_actor(&rating(1.0), Agent::React), "rate");
        assert_eq!(refused_actor(&rating(1.1), Agent::ActOnly), "rate.weight");
        let empty = CatalogueRating { by: RateBy::Contrasts(Default::default()), weight: 1.0 };
        assert_eq!(refused_actor(&Actor::Rate(empty), Agent::ActOnly), "rate.by.contrasts");
        assert!(rating(0.5).check(&llm, Agent::ActOnly).is_ok());
        assert!(Actor::default().check(&llm, Agent::Full).is_ok() && RoleSettings::default().check().is_ok());
    }
}
