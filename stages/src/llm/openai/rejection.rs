//! Classifies the status and body with which a server rejects a request, and names the setting that helps.

use std::time::Duration;

use anyhow::anyhow;
use pipeline::{BudgetExhausted, Secret};
use serde_json::Value;

use super::super::FailedCall;
use super::config::OpenaiConfig;
use super::dialect::Parameter;
use super::response::quote;
use super::retry::RetryClass;

/// The most characters of a server's message that an error quotes.
const MAX_QUOTE: usize = 300;
/// The most of them that a failed call stores.
pub(super) const MAX_RAW: usize = 2000;
/// How providers report an account without credit, whatever its status.
const NO_CREDIT: [&str; 5] = [
    "insufficient_quota",
    "credit balance is too low",
    "billing_hard_limit_reached",
    "insufficient balance",
    "insufficient_balance",
];
/// How servers report an unsupported parameter or value.
const UNSUPPORTED: [&str; 15] = [
    "unsupported",
    "not support",
    "not_support",
    "unrecognized",
    "unknown",
    "unexpected",
    "extra",
    "not permitted",
    "not allowed",
    "deprecated",
    "only the default",
    "may only be",
    "not enabled",
    "not available",
    "no longer",
];

/// Classifies a rejection: `text` is the body of a response with this status, `after` the pause that it requests.
pub(super) fn classify(
    config: &OpenaiConfig,
    url: &str,
    status: u16,
    text: &str,
    after: Option<Duration>,
) -> RetryClass {
    let why = format!("{url} answered {status}: {}", quote(text, MAX_QUOTE));
    let variable = config.api_key.as_ref().map_or("api_key", Secret::variable);
    let low = text.to_lowercase();
    // Some report it with a status that elsewhere means a bad request or a pause; neither a pause nor another request helps.
    if status == 402 || ((400..500).contains(&status) && NO_CREDIT.iter().any(|words| low.contains(words))) {
        let credit = "\nhelp: the account has no credit left; add credit and run again: answered calls are stored";
        return RetryClass::Permanent(BudgetExhausted(format!("{why}{credit}")).into());
    }
    match status {
        408 | 409 | 425 | 429 | 500 | 502.. => RetryClass::Transient { why, after },
        401 | 403 => {
            let marks = config
                .api_key
                .as_ref()
                .and_then(|key| key.reveal().ok())
                .is_some_and(|key| has_surrounding_marks(&key));
            let marks = if marks { "; the value begins or ends with quotes or white space" } else { "" };
            let help = format!("\nhelp: check that `{variable}` holds a key with access to `{}`{marks}", config.model);
            RetryClass::Permanent(anyhow!("{why}{help}"))
        }
        404 | 405 | 501 | ..=399 => {
            let help = format!(
                "\nhelp: check that `base_url` is correct and that the server has the model `{}`",
                config.model
            );
            RetryClass::Permanent(anyhow!("{why}{help}"))
        }
        _ => match refused_parameter(config, &low) {
            Some(help) => RetryClass::Permanent(anyhow!("{why}\nhelp: {help}")),
            // About this request only: too long, or against the provider's policy.
            None => RetryClass::Permanent(
                FailedCall { status: Some(status), reason: why, raw: quote(text, MAX_RAW) }.into(),
            ),
        },
    }
}

/// Whether a key begins or ends with quotes or white space.
fn has_surrounding_marks(key: &str) -> bool {
    key.trim_matches(|c: char| c.is_whitespace() || "\"'`".contains(c)) != key
}

/// The setting that adapts a request to a server that rejects one of its parameters; `text` is in lower case.
fn refused_parameter(config: &OpenaiConfig, text: &str) -> Option<String> {
    if !UNSUPPORTED.iter().any(|words| text.contains(words)) {
        return None;
    }
    let body: Value = serde_json::from_str(text).unwrap_or_default();
    let param = body["error"]["param"].as_str().or_else(|| body["param"].as_str()).unwrap_or_default().to_owned();
    let message = body["error"]["message"].as_str().or_else(|| body["message"].as_str()).unwrap_or(text);
    let is = |name: &str| param == name || (param.is_empty() && names(message, name));
    let role = param.starts_with("messages") || ["system", "developer"].iter().any(|role| names(message, role));
    if role
        && ["role", "system", "developer"].iter().any(|word| message.contains(word))
        && config.system_role.is_separate_message()
    {
        return Some(
            "the server rejects the role of the instructions: set `system_role: user`, which puts them before the question"
                .into(),
        );
    }
    // The longer names first: `top_logprobs` holds `logprobs`.
    if is("top_logprobs") || is("logprobs") {
        return Some("the server rejects `logprobs`: set `logprobs: false`".into());
    }
    let ours = config.max_tokens_field.name();
    for (parameter, name) in [
        (Parameter::MaxTokens, ours),
        (Parameter::Temperature, "temperature"),
        (Parameter::Seed, "seed"),
        (Parameter::Stop, "stop"),
    ] {
        if !is(name) || config.leave_out.contains(&parameter) {
            continue;
        }
        let rename = match parameter {
            Parameter::MaxTokens => format!("set `max_tokens_field: {}`, or ", config.max_tokens_field.other().name()),
            _ => String::new(),
        };
        let omit = parameter.name();
        return Some(format!("the server rejects `{name}`: {rename}omit it with `leave_out: [{omit}]`"));
    }
    None
}

/// Whether a text contains a name as a whole word.
fn names(text: &str, name: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(name).any(|(at, _)| {
        let after = text[at + name.len()..].chars().next();
        !text[..at].chars().next_back().is_some_and(part) && !after.is_some_and(part)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::dialect::{MaxTokensField, SystemRole};
    use super::*;

    fn config() -> OpenaiConfig {
        serde_json::from_value(json!({ "model": "m", "api_key": null })).unwrap()
    }

    fn help(config: &OpenaiConfig, status: u16, text: &str) -> Option<String> {
        match classify(config, "URL", status, text, None) {
            RetryClass::Permanent(error) if error.is::<FailedCall>() => None,
            RetryClass::Permanent(error) => error.to_string().split_once("\nhelp: ").map(|(_, help)| help.to_owned()),
            _ => panic!("tried again"),
        }
    }

    #[test]
    fn a_refused_parameter_is_named_with_the_setting_that_mends_it() {
        let body = |message: &str, param: Value| json!({ "error": { "message": message, "param": param } }).to_string();
        for (text, wanted) in [
            (
                body("Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.", json!("max_tokens")),
                "the server rejects `max_tokens`: set `max_tokens_field: max_completion_tokens`, or omit it with `leave_out: [max_tokens]`",
            ),
            (
                body("Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) value is supported.", json!("temperature")),
                "the server rejects `temperature`: omit it with `leave_out: [temperature]`",
            ),
            (
                body("Unsupported value: 'messages[0].role' does not support 'system' with this model.", json!("messages[0].role")),
                "the server rejects the role of the instructions: set `system_role: user`, which puts them before the question",
            ),
            (
                body("System role not supported", Value::Null),
                "the server rejects the role of the instructions: set `system_role: user`, which puts them before the question",
            ),
            (body("`temperature` is deprecated for this model.", Value::Null), "the server rejects `temperature`: omit it with `leave_out: [temperature]`"),
            (body("'stop' is not supported with this model.", json!("stop")), "the server rejects `stop`: omit it with `leave_out: [stop]`"),
            (
                json!({ "detail": [{ "type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted" }] }).to_string(),
                "the server rejects `seed`: omit it with `leave_out: [seed]`",
            ),
            (body("logprobs are not supported with reasoning models.", Value::Null), "the server rejects `logprobs`: set `logprobs: false`"),
        ] {
            let status = if text.contains("detail") { 422 } else { 400 };
            assert_eq!(help(&config(), status, &text).as_deref(), Some(wanted), "{text}");
        }
        let renamed = OpenaiConfig {
            max_tokens_field: MaxTokensField::MaxCompletionTokens,
            system_role: SystemRole::User,
            ..config()
        };
        let text = body("Unknown parameter: 'max_completion_tokens'", Value::Null);
        assert!(help(&renamed, 400, &text).unwrap().contains("set `max_tokens_field: max_tokens`"));
        for about_one in [
            "This model's maximum context length is 4096 tokens",
            "max_tokens is too large: 9000",
            "bad words in the prompt",
        ] {
            assert_eq!(help(&config(), 400, &body(about_one, Value::Null)), None, "{about_one}");
        }
    }

    #[test]
    fn an_account_without_credit_ends_the_stage_whatever_the_status() {
        // anthropics/anthropic-sdk-typescript#618: said with the status of a bad question, so that a client that takes it for one
        // goes on to the next.
        let low = r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the API."}}"#;
        let limit =
            r#"{"error":{"code":"billing_hard_limit_reached","message":"Billing hard limit has been reached"}}"#;
        for (status, text) in
            [(400, low), (400, limit), (429, r#"{"error":{"code":"insufficient_quota"}}"#), (402, "pay")]
        {
            let RetryClass::Permanent(error) = classify(&config(), "URL", status, text, None) else {
                panic!("tried again")
            };
            assert!(
                error.is::<BudgetExhausted>() && error.to_string().contains("\nhelp: the account has no credit left"),
                "{error}"
            );
        }
    }
}
