//! What a JSON schema says about one place of a config: its documentation and its required keys.

use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};
use serde_json::Value;

use crate::secret;

/// Where a schema lists alternatives.
const CHOICES: [&str; 3] = ["oneOf", "anyOf", "allOf"];

/// A schema may refer to itself; no config of a person is this deep.
const MAX_DEPTH: usize = 8;

/// The schema of one config with all its definitions.
pub(crate) struct SchemaLookup {
    root: Value,
    definitions: serde_json::Map<String, Value>,
}

/// One step of a path: a key or a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
}

impl SchemaLookup {
    pub fn new(schema: &dyn Fn(&mut SchemaGenerator) -> Schema) -> Self {
        let mut generator = SchemaSettings::draft2020_12().into_generator();
        let root = schema(&mut generator).to_value();
        Self { root, definitions: generator.take_definitions(true) }
    }

    /// The schema of the config itself.
    pub(super) fn root(&self) -> &Value {
        &self.root
    }

    /// The first sentence of the documentation of a place.
    pub fn about(&self, path: &[Step]) -> Option<String> {
        // The words of the place itself come before those of its type.
        let here = self.at(path)?;
        let text = here.get("description").or_else(|| self.target(here).get("description"))?.as_str()?;
        let paragraph = text.split("\n\n").next()?.replace('\n', " ");
        let sentence = paragraph.split_once(". ").map_or(paragraph.as_str(), |(first, _)| first);
        Some(sentence.trim_end_matches('.').to_owned())
    }

    /// The keys of the config itself, each with what [`SchemaLookup::about`] says of it.
    pub fn fields(&self) -> Vec<(String, String)> {
        let map = self.target(&self.root).get("properties").and_then(Value::as_object);
        let about = |name: &String| self.about(&[Step::Key(name.clone())]).unwrap_or_default();
        map.into_iter().flatten().map(|(name, _)| (name.clone(), about(name))).collect()
    }

    /// The keys that a mapping at this place must have.
    pub fn required(&self, path: &[Step]) -> Vec<String> {
        let list = self.at(path).and_then(|here| self.target(here).get("required")?.as_array());
        list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// The names of the choices at this place, where it is one.
    pub fn choices(&self, path: &[Step]) -> Vec<String> {
        let Some(here) = self.at(path).map(|here| self.target(here)) else { return Vec::new() };
        let branches = ["oneOf", "anyOf"].iter().filter_map(|name| here.get(name)?.as_array()).flatten();
        let mut names = Vec::new();
        for branch in std::iter::once(here).chain(branches.map(|branch| self.target(branch))) {
            let texts = [branch.get("const")].into_iter().flatten();
            let lists = ["enum", "required"].iter().filter_map(|name| branch.get(name)?.as_array()).flatten();
            names.extend(texts.chain(lists).filter_map(Value::as_str).map(str::to_owned));
        }
        names
    }

    /// The schema of a setting; what stands in a list counts as if it stood there itself.
    pub fn find(&self, path: &[String]) -> Option<&Value> {
        path.iter().try_fold(&self.root, |here, key| {
            let key = Step::Key(key.clone());
            self.step(here, &key).or_else(|| self.step(self.step(here, &Step::Index(0))?, &key))
        })
    }

    /// The words that a setting takes, as texts or as keys of a choice, alone or in a list.
    pub fn words_at(&self, path: &[String]) -> Vec<String> {
        let mut words = Vec::new();
        if let Some(here) = self.find(path) {
            self.collect_words(here, 0, &mut words);
        }
        words
    }

    fn collect_words(&self, here: &Value, depth: usize, words: &mut Vec<String>) {
        if depth > MAX_DEPTH {
            return;
        }
        let here = self.target(here);
        let lists = ["enum", "required"].iter().filter_map(|name| here.get(name)?.as_array()).flatten();
        words.extend(lists.chain(here.get("const")).filter_map(Value::as_str).map(str::to_owned));
        let choices = CHOICES.into_iter().filter_map(|name| here.get(name)?.as_array()).flatten();
        for inner in choices.chain(here.get("items")) {
            self.collect_words(inner, depth + 1, words);
        }
    }

    /// Whether the place takes a secret.
    pub fn is_secret(&self, path: &[Step]) -> bool {
        self.at(path).is_some_and(|here| self.marks_secret(here))
    }

    /// The paths of all fields that take a secret.
    pub fn secrets(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.collect_secrets(&self.root, "", 0, &mut found);
        found
    }

    fn collect_secrets(&self, here: &Value, path: &str, depth: usize, found: &mut Vec<String>) {
        if depth > MAX_DEPTH {
            return;
        }
        let here = self.target(here);
        if self.marks_secret(here) {
            if !found.iter().any(|known| known == path) {
                found.push(path.to_owned());
            }
            return;
        }
        for (name, field) in here.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            self.collect_secrets(field, &below, depth + 1, found);
        }
        for choice in CHOICES.into_iter().filter_map(|name| here.get(name)?.as_array()).flatten() {
            self.collect_secrets(choice, path, depth + 1, found);
        }
    }

    fn marks_secret(&self, here: &Value) -> bool {
        let here = self.target(here);
        let marked = |schema: &Value| schema.get("format").and_then(Value::as_str) == Some(secret::FORMAT);
        // An optional field is a choice between a secret and null.
        let choices = CHOICES.into_iter().filter_map(|name| here.get(name)?.as_array()).flatten();
        marked(here) || choices.into_iter().any(|choice| marked(self.target(choice)))
    }

    pub(super) fn at(&self, path: &[Step]) -> Option<&Value> {
        path.iter().try_fold(&self.root, |here, step| self.step(here, step))
    }

    fn step<'s>(&'s self, here: &'s Value, step: &Step) -> Option<&'s Value> {
        let here = self.target(here);
        let direct = match step {
            Step::Key(key) => here.get("properties").and_then(|properties| properties.get(key)),
            Step::Index(index) => {
                here.get("prefixItems").and_then(|items| items.get(index)).or_else(|| here.get("items"))
            }
        };
        direct.or_else(|| {
            let choices = CHOICES.into_iter().filter_map(|name| here.get(name)?.as_array()).flatten();
            choices.into_iter().find_map(|choice| self.step(choice, step))
        })
    }

    pub(super) fn target<'s>(&'s self, mut here: &'s Value) -> &'s Value {
        // A reference to a reference does not occur in generated schemas, but a loop must not hang.
        for _ in 0..8 {
            let name = here.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix("#/$defs/"));
            let Some(definition) = name.and_then(|name| self.definitions.get(name)) else { break };
            here = definition;
        }
        here
    }
}
