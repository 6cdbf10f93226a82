//! What a kind of stage takes and makes, from its schema: the reference that `apprentice stages KIND` prints.

use serde::Serialize;
use serde_json::Value;

use super::example::flow;
use super::schema_lookup::SchemaLookup;
use crate::{Arity, PortSpec, StageKind};

/// A schema may refer to itself; no config of a person is this deep.
const MAX_DEPTH: usize = 6;

/// A kind of stage in words.
#[derive(Debug, Serialize)]
pub(crate) struct StageReference {
    pub kind: &'static str,
    pub about: &'static str,
    pub inputs: Vec<Port>,
    pub outputs: Vec<Port>,
    pub settings: Vec<Setting>,
    /// The least that an experiment writes of it.
    pub example: String,
}

/// An input or an output.
#[derive(Debug, Serialize)]
pub(crate) struct Port {
    pub name: &'static str,
    pub artifact: &'static str,
    /// `one`, `optional` or `many`.
    pub arity: &'static str,
}

/// A setting.
#[derive(Debug, Serialize)]
pub(crate) struct Setting {
    /// The path below `with`; `[]` behind a list, the name of a choice as a part of it.
    pub path: String,
    /// What it takes, with its range.
    pub takes: String,
    pub required: bool,
    /// What it is when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// A line of YAML.
    pub example: String,
    pub about: String,
    /// The words that it takes, each with what it means.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<(String, String)>,
}

/// The reference of a kind.
pub(crate) fn reference(kind: &StageKind) -> StageReference {
    let lookup = SchemaLookup::new(&kind.schema);
    let mut settings = Vec::new();
    lookup.collect_settings(lookup.root(), "", 0, &mut settings);
    let needed: Vec<String> = settings
        .iter()
        .filter(|setting| setting.required && !setting.path.contains(['.', '[']))
        .map(|setting| setting.example.clone())
        .collect();
    let inputs: Vec<Port> = (kind.inputs)().iter().map(Port::new).collect();
    let is_shown = |port: &&Port| port.arity == "one" || kind.needs_one_of.first() == Some(&port.name);
    let connected: Vec<String> =
        inputs.iter().filter(is_shown).map(|port| format!("{0}: stage.{0}", port.name)).collect();
    let block = |name: &str, lines: &[String]| match lines {
        [] => String::new(),
        lines => format!("\n  {name}: {{ {} }}", lines.join(", ")),
    };
    let short = kind.kind.rsplit('.').next().unwrap_or(kind.kind).replace('_', "-");
    let example = format!("{short}:\n  use: {}{}{}", kind.kind, block("inputs", &connected), block("with", &needed));
    let outputs = (kind.outputs)().iter().map(Port::new).collect();
    StageReference { kind: kind.kind, about: kind.about, inputs, outputs, settings, example }
}

impl Port {
    fn new(spec: &PortSpec) -> Self {
        let arity = match spec.arity {
            Arity::One => "one",
            Arity::Optional => "optional",
            Arity::Many => "many",
        };
        Self { name: spec.name, artifact: spec.kind, arity }
    }
}

impl SchemaLookup {
    /// The settings below a place, depth first, each mapping before what is in it.
    fn collect_settings(&self, here: &Value, path: &str, depth: usize, found: &mut Vec<Setting>) {
        if depth > MAX_DEPTH {
            return;
        }
        let target = self.without_null(here);
        let required = |name: &str| {
            let list = target.get("required").and_then(Value::as_array);
            list.is_some_and(|list| list.iter().any(|known| known == name))
        };
        for (name, field) in target.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            self.push_setting(&below, name, field, required(name), depth, found);
        }
        if let Some(items) = target.get("items") {
            self.collect_settings(items, &format!("{path}[]"), depth + 1, found);
        }
        for choice in self.branches(target) {
            self.collect_settings(choice, path, depth + 1, found);
        }
    }

    fn push_setting(
        &self,
        path: &str,
        name: &str,
        field: &Value,
        required: bool,
        depth: usize,
        found: &mut Vec<Setting>,
    ) {
        let target = self.without_null(field);
        let about = field.get("description").or_else(|| target.get("description")).and_then(Value::as_str);
        let value = self.example_of(field, 0).unwrap_or(Value::Null);
        found.push(Setting {
            path: path.to_owned(),
            takes: self.takes(field),
            required,
            default: field.get("default").filter(|_| !required).cloned(),
            example: format!("{name}: {}", flow(&value)),
            about: about.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" "),
            choices: self.words_with_meaning(target),
        });
        self.collect_settings(field, path, depth + 1, found);
    }

    /// The alternatives at a place, without null.
    fn branches<'s>(&'s self, here: &'s Value) -> impl Iterator<Item = &'s Value> {
        let lists = ["oneOf", "anyOf"].into_iter().filter_map(|name| here.get(name)?.as_array()).flatten();
        lists
            .map(|branch| self.target(branch))
            .filter(|branch| branch.get("type").and_then(Value::as_str) != Some("null"))
    }

    /// The schema itself, or the one alternative to null.
    fn without_null<'s>(&'s self, here: &'s Value) -> &'s Value {
        let here = self.target(here);
        let mut branches = self.branches(here);
        match (branches.next(), branches.next()) {
            (Some(only), None) => only,
            _ => here,
        }
    }

    fn words_with_meaning(&self, here: &Value) -> Vec<(String, String)> {
        let mut words = Vec::new();
        for branch in self.branches(here) {
            let about = branch.get("description").and_then(Value::as_str).unwrap_or_default();
            let about = about.split_whitespace().collect::<Vec<_>>().join(" ");
            let listed = ["enum", "required"].into_iter().filter_map(|name| branch.get(name)?.as_array()).flatten();
            let names = branch.get("const").into_iter().chain(listed).filter_map(Value::as_str);
            words.extend(names.map(|name| (name.to_owned(), about.clone())));
        }
        words
    }

    /// What a place takes, in words.
    fn takes(&self, field: &Value) -> String {
        let here = self.without_null(field);
        if !self.words_with_meaning(here).is_empty() {
            return "a choice".to_owned();
        }
        let kind = here.get("type");
        let kind = kind.and_then(|kind| {
            kind.as_str().or_else(|| kind.as_array()?.iter().filter_map(Value::as_str).find(|kind| *kind != "null"))
        });
        let range = self.range(here);
        match kind {
            Some("boolean") => "true or false".to_owned(),
            Some("integer") => format!("a whole number{range}"),
            Some("number") => format!("a number{range}"),
            Some("string") => "a text".to_owned(),
            Some("array") => {
                let items = here.get("items").map_or_else(|| "values".to_owned(), |items| self.takes(items));
                let length = |name: &str| here.get(name).and_then(Value::as_u64);
                match (length("minItems"), length("maxItems")) {
                    (Some(least), Some(most)) if least == most => format!("a list of {least}, each {items}"),
                    _ => format!("a list, each {items}"),
                }
            }
            Some("object") => "a mapping".to_owned(),
            _ => "a value".to_owned(),
        }
    }

    fn range(&self, here: &Value) -> String {
        let bound = |name: &str| here.get(name).filter(|bound| bound.is_number());
        match (bound("minimum"), bound("maximum")) {
            (Some(least), Some(most)) => format!(" from {least} to {most}"),
            (Some(least), None) => format!(", {least} or more"),
            (None, Some(most)) => format!(", {most} or less"),
            (None, None) => String::new(),
        }
    }
}
