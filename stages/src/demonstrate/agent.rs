//! How much of an expert is at work, and how it acts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ground::MatchSettings;

/// Which roles one frozen language model plays (BiLLP, arXiv 2403.00843; IL-Rec, arXiv 2510.13229).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Agent {
    /// An actor alone.
    #[default]
    ActOnly,
    /// It thinks before it acts (ReAct, arXiv 2210.03629).
    React,
    /// It also reflects on each finished episode and remembers what it wrote (Reflexion, arXiv 2303.11366).
    Reflexion,
    /// It also values where each action led, and remembers which went well with whom.
    Full,
}

impl Agent {
    /// Whether a thought comes before each action.
    pub fn plans(self) -> bool {
        self != Self::ActOnly
    }
    /// Whether each episode ends in a reflection.
    pub fn reflects(self) -> bool {
        matches!(self, Self::Reflexion | Self::Full)
    }
    /// Whether each action is valued.
    pub fn criticises(self) -> bool {
        self == Self::Full
    }
}

/// How the actor says what it recommends.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// It chooses among the retriever's offers.
    #[default]
    Choose,
    /// It writes a title, which is looked for in the catalogue.
    Write(TitleGeneration),
}

/// How a title that was written becomes an item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TitleGeneration {
    /// How often it may try to name an item that may be shown, at least once; after that the retriever's first offer stands in.
    pub max_attempts: u64,
    /// The longest title, in tokens.
    pub max_tokens: u32,
    /// How a name is looked for.
    pub ground: MatchSettings,
}

impl Default for TitleGeneration {
    fn default() -> Self {
        Self { max_attempts: 5, max_tokens: 24, ground: MatchSettings::default() }
    }
}

/// What the roles write and remember. Without a role a setting of it says nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RoleSettings {
    /// How freely it writes: 0 is the most probable text, BiLLP takes 0.5.
    pub temperature: f64,
    /// The longest thought, in tokens.
    pub max_thought_tokens: u32,
    /// The longest reflection, in tokens.
    pub max_reflection_tokens: u32,
    /// γ of the critic's advantage r + γ·v_t − v_{t−1}.
    pub gamma: f64,
    /// How many people play at once, from the memory as it was before them; what they leave is remembered after them, in the
    /// order of users, so that the memory does not depend on who was faster.
    pub memory_batch_size: usize,
    /// Of how many of the people most alike the memory is recalled.
    pub n_neighbors: usize,
    /// What people are alike by.
    pub similarity: UserSimilarity,
    /// How alike at least, as a cosine from −1 to 1.
    pub min_similarity: f64,
}

/// What people are alike by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UserSimilarity {
    /// The world's vectors of people, as it fitted them or as their features make them.
    #[default]
    Vectors,
    /// The meaning of what their episodes begin with, what they liked, by a model that turns texts into vectors
    /// (`llm: { openai: { embedding_model: … } }`). People of whom nothing is told are alike to nobody.
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
    /// What no type can say.
    pub fn check(&self) -> Result<(), (String, String)> {
        let wrong = |path: &str, wanted: &str| Err((path.to_owned(), wanted.to_owned()));
        if !(0.0..=2.0).contains(&self.temperature) {
            return wrong("temperature", "0 to 2");
        }
        if self.max_thought_tokens == 0 {
            return wrong("max_thought_tokens", "at least one token; `agent: act_only` does not think");
        }
        if self.max_reflection_tokens == 0 {
            return wrong("max_reflection_tokens", "at least one token");
        }
        if !(0.0..=1.0).contains(&self.gamma) {
            return wrong("gamma", "a discount lies between 0 and 1");
        }
        if self.memory_batch_size == 0 {
            return wrong("memory_batch_size", "at least one user at a time");
        }
        if !(-1.0..=1.0).contains(&self.min_similarity) {
            return wrong("min_similarity", "a cosine from -1 to 1");
        }
        Ok(())
    }
}

impl Actor {
    /// What no type can say.
    pub fn check(&self) -> Result<(), (String, String)> {
        let Self::Write(generation) = self else { return Ok(()) };
        if generation.max_attempts == 0 {
            return Err(("write.max_attempts".into(), "at least one try".into()));
        }
        if generation.max_tokens == 0 {
            return Err(("write.max_tokens".into(), "at least one token".into()));
        }
        generation.ground.check().map_err(|(path, wanted)| (format!("write.ground.{path}"), wanted))
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
        let generation = |change: fn(&mut TitleGeneration)| {
            let mut generation = TitleGeneration::default();
            change(&mut generation);
            Actor::Write(generation).check().unwrap_err().0
        };
        assert_eq!(generation(|s| s.max_attempts = 0), "write.max_attempts");
        assert_eq!(generation(|s| s.max_tokens = 0), "write.max_tokens");
        assert_eq!(generation(|s| s.ground.trigram = 0.0), "write.ground.trigram");
        assert!(Actor::default().check().is_ok() && RoleSettings::default().check().is_ok());
    }
}
