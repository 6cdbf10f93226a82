//! The roles of the language model, and how it states a recommendation.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::lookahead::{self, LeafValue};
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
    /// It chooses one of the retriever's candidates by a search over imagined turns in the world at `model` (SLINVIT, arXiv
    /// 2402.16181). Each imagined turn is told to the model as if it had happened, with the imagined reward. A step's scores are the
    /// values of the best paths that begin with its candidates; −∞ of candidates that were not followed. Needs `agent: act_only`.
    Search(ModelSearch),
    /// It rates each item of the catalogue once, for no user in particular, as the stage `rate` does. Each turn recommends the
    /// best item of the whole catalogue that the episode has not shown, without a call. Needs `agent: act_only`.
    Rate(CatalogueRating),
}

/// How an actor searches. A path of d imagined turns is worth Σ_{t<d} γ^t·(r̂_t + α·ln π_t) + γ^d·V(leaf), with the reward r̂ of the
/// world at `model` and the probability π that the language model gives the candidate; the first item of the best path is recommended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ModelSearch {
    /// Number of candidates that are followed from each imagined turn, at least 1: those with the highest r̂ + α·ln π + γ·V. 2 by
    /// default, as in the authors' code for ALFWorld.
    pub width: usize,
    /// Number of imagined turns, at least 1; fewer where the imagined user leaves. 2 by default, from the same place. A turn of
    /// the episode costs up to 1 + `width` + `width`² + … calls, `depth` terms.
    pub depth: usize,
    /// Weight α of ln π against rewards, 0 or more. 0.1 by default, from the same place; it has the unit of a reward. ln π is at most 0,
    /// so that each further turn costs a little.
    pub alpha: f64,
    /// Discount γ of imagined turns, above 0, at most 1. 1 by default, as the returns of the evaluation are not discounted.
    pub gamma: f64,
    /// The value of an imagined turn at which the search ends.
    pub leaf_value: LeafValue,
    /// Where π comes from.
    pub prior: SearchPrior,
}

/// Where the prior of a search comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SearchPrior {
    /// The softmax of the scores by which the language model chooses. The candidates of an imagined turn without an answer are
    /// equally likely.
    #[default]
    LanguageModel,
    /// All candidates are equally likely, and the model is asked nothing: the control.
    Uniform,
}

impl Default for ModelSearch {
    fn default() -> Self {
        Self {
            width: 2,
            depth: 2,
            alpha: 0.1,
            gamma: 1.0,
            leaf_value: LeafValue::default(),
            prior: SearchPrior::default(),
        }
    }
}

impl ModelSearch {
    fn check(&self, llm: &LlmConfig, n_candidates: usize) -> Result<(), (String, String)> {
        lookahead::check(self.width, self.depth, n_candidates, self.gamma)?;
        if !(self.alpha >= 0.0 && self.alpha.is_finite()) {
            return Err(("alpha".into(), "a weight of 0 or more".into()));
        }
        match llm.lacks_logprobs() {
            Some(why) if self.prior == SearchPrior::LanguageModel => {
                Err(("prior".into(), format!("`language_model` needs log-probabilities: {why}; `uniform` needs none")))
            }
            _ => Ok(()),
        }
    }
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
    pub fn check(&self, llm: &LlmConfig, agent: Agent, n_candidates: usize) -> Result<(), (String, String)> {
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
            Self::Search(search) => {
                if agent != Agent::ActOnly {
                    return wrong("search", "an actor that imagines turns plays no other role: `agent: act_only`");
                }
                search.check(llm, n_candidates).map_err(|(path, wanted)| (format!("search.{path}"), wanted))
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
        let refused_actor = |actor: &Actor, agent| actor.check(&llm, agent, 10).unwrap_err().0;
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
        assert!(rating(0.5).check(&llm, Agent::ActOnly, 10).is_ok());
        let search = |change: fn(&mut ModelSearch)| {
            let mut search = ModelSearch::default();
            change(&mut search);
            Actor::Search(search)
        };
        let refused_search = |change| refused_actor(&search(change), Agent::ActOnly);
        assert_eq!(refused_actor(&search(|_| ()), Agent::React), "search");
        assert_eq!(refused_search(|s| s.width = 0), "search.width");
        assert_eq!(refused_search(|s| s.depth = 0), "search.depth");
        assert_eq!(refused_search(|s| (s.width, s.depth) = (10, 4)), "search.depth", "1111 calls a turn");
        assert_eq!(refused_search(|s| s.alpha = -0.1), "search.alpha");
        assert_eq!(refused_search(|s| s.gamma = 0.0), "search.gamma");
        assert!(search(|s| s.depth = 9).check(&llm, Agent::ActOnly, 10).is_ok());
        let server = serde_json::json!({ "openai": { "model": "m" } });
        let server = serde_json::from_value(server).unwrap();
        let refused = search(|_| ()).check(&server, Agent::ActOnly, 10).unwrap_err();
        assert!(refused.0 == "search.prior" && refused.1.contains("logprobs: true"), "{refused:?}");
        assert!(search(|s| s.prior = SearchPrior::Uniform).check(&server, Agent::ActOnly, 10).is_ok());
        assert!(Actor::default().check(&llm, Agent::Full, 10).is_ok() && RoleSettings::default().check().is_ok());
    }
}
