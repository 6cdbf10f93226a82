//! How a server wants to be spoken to where it does not take what most of them take.
//!
//! With every setting at its default a request is, byte for byte, what it was before there were any.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::config::OpenaiConfig;

/// The name of the parameter that limits an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MaxTokensField {
    /// `max_tokens`, which nearly all servers know.
    #[default]
    MaxTokens,
    /// `max_completion_tokens`, which OpenAI's reasoning models want in its place.
    MaxCompletionTokens,
}

/// Who says the instructions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SystemRole {
    /// A message of the role `system`.
    #[default]
    System,
    /// A message of the role `developer`.
    Developer,
    /// The user, in the same message as the question and before it: for models that know no other role.
    User,
}

/// A parameter of a request that can be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Parameter {
    /// The longest answer.
    MaxTokens,
    /// How freely it is drawn.
    Temperature,
    /// The number of the draw, with texts.
    Seed,
    /// Where a text ends; of what is written behind it nothing is used all the same.
    Stop,
}

impl MaxTokensField {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::MaxTokens => "max_tokens",
            Self::MaxCompletionTokens => "max_completion_tokens",
        }
    }

    pub(super) fn other(self) -> Self {
        match self {
            Self::MaxTokens => Self::MaxCompletionTokens,
            Self::MaxCompletionTokens => Self::MaxTokens,
        }
    }
}

impl SystemRole {
    /// Whether the instructions are a message of their own.
    pub(super) fn is_separate_message(self) -> bool {
        self != Self::User
    }
}

impl Parameter {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::MaxTokens => "max_tokens",
            Self::Temperature => "temperature",
            Self::Seed => "seed",
            Self::Stop => "stop",
        }
    }
}

impl OpenaiConfig {
    /// What of this an answer may depend on, as the end of an identity; empty with the defaults.
    pub(super) fn identity_suffix(&self) -> String {
        let mut suffix = String::new();
        if self.max_tokens_field != MaxTokensField::default() {
            suffix += &format!(r#","max_tokens_field":{}"#, json!(self.max_tokens_field));
        }
        if self.system_role != SystemRole::default() {
            suffix += &format!(r#","system_role":{}"#, json!(self.system_role));
        }
        let mut leave_out = self.leave_out.clone();
        leave_out.sort_unstable();
        leave_out.dedup();
        if !leave_out.is_empty() {
            suffix += &format!(r#","leave_out":{}"#, json!(leave_out));
        }
        suffix
    }

    /// A request to `chat/completions` as this server takes it: `body` has a message of the system, one of the user, and all
    /// parameters under their usual names.
    pub(super) fn adapted(&self, mut body: Value) -> Value {
        let Some(fields) = body.as_object_mut() else { return body };
        for parameter in &self.leave_out {
            fields.remove(parameter.name());
        }
        if self.max_tokens_field != MaxTokensField::default()
            && let Some(limit) = fields.remove(MaxTokensField::default().name())
        {
            fields.insert(self.max_tokens_field.name().to_owned(), limit);
        }
        match (self.system_role, fields.get_mut("messages").and_then(Value::as_array_mut)) {
            (SystemRole::System, _) | (_, None) => {}
            (SystemRole::Developer, Some(messages)) => messages[0]["role"] = "developer".into(),
            (SystemRole::User, Some(messages)) => {
                let instructions = messages.remove(0);
                let instructions = instructions["content"].as_str().unwrap_or_default().trim_end().to_owned();
                let question = messages[0]["content"].as_str().unwrap_or_default();
                let merged =
                    if instructions.is_empty() { question.to_owned() } else { format!("{instructions}\n{question}") };
                messages[0]["content"] = merged.into();
            }
        }
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(more: Value) -> OpenaiConfig {
        let mut fields = json!({ "model": "m" });
        fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(fields).unwrap()
    }

    #[test]
    fn what_is_set_is_spoken_and_part_of_the_identity_and_nothing_else_is() {
        let body = json!({
            "model": "m", "max_tokens": 8, "temperature": 0.0, "stop": ["\n"], "seed": 3,
            "messages": [{ "role": "system", "content": "Be brief.\n" }, { "role": "user", "content": "Which?" }],
        });
        let plain = config(json!({}));
        assert_eq!((plain.adapted(body.clone()), plain.identity_suffix()), (body.clone(), String::new()));
        let o1 = config(
            json!({ "max_tokens_field": "max_completion_tokens", "system_role": "user", "leave_out": ["stop", "temperature", "stop"] }),
        );
        let messages = json!([{ "role": "user", "content": "Be brief.\nWhich?" }]);
        assert_eq!(
            o1.adapted(body.clone()),
            json!({ "model": "m", "max_completion_tokens": 8, "seed": 3, "messages": messages })
        );
        let suffix =
            r#","max_tokens_field":"max_completion_tokens","system_role":"user","leave_out":["temperature","stop"]"#;
        assert_eq!(o1.identity_suffix(), suffix);
        let bare = config(json!({ "system_role": "developer", "leave_out": ["max_tokens", "seed"] })).adapted(body);
        assert_eq!(
            (&bare["messages"][0]["role"], bare.get("max_tokens"), bare.get("seed")),
            (&json!("developer"), None, None)
        );
    }
}
