//! A stage that needs a secret and, where a test says so, repeats it wherever a careless stage could.

use anyhow::anyhow;
use pipeline::{Context, Secret, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::stages::{Nothing, One, Value};

/// Asks a server that does not exist.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// Whom.
    #[serde(default)]
    server: Server,
    /// What the answer is.
    #[serde(default)]
    answer: f64,
    /// How it goes.
    #[serde(default)]
    end: End,
}

/// The server.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Server {
    /// Its key; `null` where it needs none.
    #[serde(default)]
    key: Option<Secret>,
    /// Its name.
    #[serde(default)]
    name: String,
}

#[derive(Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum End {
    #[default]
    Well,
    Error,
    Panic,
    Unreachable,
}

impl Stage for Ask {
    const KIND: &'static str = "toy.ask";
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "Asks a server.";
    const NOT_IN_KEY: &'static [&'static str] = &["end"];
    type Inputs = Nothing;
    type Outputs = One;
    fn run(&self, _: Nothing, cx: &Context) -> anyhow::Result<One> {
        let key = match &self.server.key {
            Some(secret) => secret.reveal()?,
            None => "no key".into(),
        };
        cx.note("the server says", format!("welcome, {key}"));
        cx.bar(&format!("ask with {key}"), Some(1), "questions").inc_with(1, &key);
        match self.end {
            End::Well => Ok(One { value: Value(self.answer) }),
            End::Error => Err(anyhow!("answered 401: no such key `{key}`")),
            End::Panic => panic!("cannot read {key}"),
            End::Unreachable => Err(pipeline::Unreachable(format!("http://{key}@nowhere does not answer")).into()),
        }
    }
}
