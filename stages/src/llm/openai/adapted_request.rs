//! Adapts requests to servers that reject the usual parameters.
//!
//! With every setting at its default a request keeps its usual bytes.

use serde_json::{Value, json};

use super::config::OpenaiConfig;
use super::dialect::{MaxTokensField, SystemRole};

impl OpenaiConfig {
    /// The settings on which answers may depend, as the end of the identity; empty with the defaults.
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

    /// A request to `chat/completions` in the form that this server accepts; `body` has a system message, a user message and all
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
