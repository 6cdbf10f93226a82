//! The JSON Schema of an experiment file, for editors: completion, documentation under the cursor, faults while typing.
//!
//! It says less than [`super::load`] checks: references, sweeps and rules between values are beyond a schema.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::serde_messages::a;
use crate::asset::AssetSpec;
use crate::{Arity, Catalog, PortSpec, Resources, StageKind};

const NAME: &str = "^[a-z0-9][a-z0-9_-]{0,63}$";
const DEVICE: &str = "^(cpu|cuda(:[0-9]+)?)$";
const REFERENCE: &str = r"^[a-z0-9][a-z0-9_-]*(\.[A-Za-z0-9_]+)?$";

/// The schema (draft 2020-12) of an experiment over the stages of a catalogue.
#[must_use]
pub fn schema(catalog: &Catalog) -> Value {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let asset = generator.subschema_for::<AssetSpec>().to_value();
    let resources = generator.subschema_for::<Resources>().to_value();
    let kinds: Vec<Value> = catalog
        .stages
        .iter()
        .map(|kind| {
            let with = (kind.schema)(&mut generator).to_value();
            let inputs = inputs(kind);
            // Where nothing is trained there is no device.
            let device = if kind.uses_device { json!({}) } else { json!(false) };
            let needed: &[&str] = if inputs["required"] == json!([]) { &[] } else { &["inputs"] };
            json!({
                "if": { "properties": { "use": { "const": kind.kind } }, "required": ["use"] },
                "then": { "properties": { "device": device, "with": with, "inputs": inputs }, "required": needed },
            })
        })
        .collect();
    let uses: Vec<Value> =
        catalog.stages.iter().map(|kind| json!({ "const": kind.kind, "description": kind.about })).collect();
    let mut definitions = generator.take_definitions(true);
    generators(&mut definitions, catalog);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Experiment",
        "description": "A pipeline from interaction logs to a policy and a report.",
        "type": "object",
        "required": ["name", "stages"],
        "additionalProperties": false,
        "properties": {
            "name": {
                "description": "The name of the experiment, also that of its folder of results.",
                "type": "string",
                "pattern": NAME,
            },
            "assets": {
                "description": "Models and data sets from outside, by the names that stages use for them.",
                "type": ["object", "null"],
                "propertyNames": { "pattern": NAME },
                "additionalProperties": asset,
            },
            "stages": {
                "description": "The stages in reading order: a stage refers only to stages above it.",
                "type": "object",
                "minProperties": 1,
                "propertyNames": { "pattern": NAME },
                "additionalProperties": {
                    "type": "object",
                    "required": ["use"],
                    "additionalProperties": false,
                    "properties": {
                        "use": { "description": "The kind of stage.", "oneOf": uses },
                        "device": {
                            "description": "Where the stage trains: `cpu`, `cuda` or `cuda:1`; `--device` goes before it. Not a part of what is made.",
                            "type": "string",
                            "pattern": DEVICE,
                        },
                        "resources": resources,
                        "inputs": { "description": "What feeds each input port: `stage.port`." },
                        "with": { "description": "The config of the stage; what is left out has its default." },
                        "sweep": {
                            "description": "A sweep: config paths with lists of values; every combination is a stage of its own.",
                            "type": ["object", "null"],
                            "additionalProperties": { "type": "array", "minItems": 1 },
                        },
                        "search": search(),
                    },
                    "allOf": kinds,
                },
            },
        },
        "$defs": definitions,
    })
}

/// A random search over settings.
fn search() -> Value {
    let range = json!({ "type": "array", "items": { "type": "number" }, "minItems": 2, "maxItems": 2 });
    json!({
        "description": "A random search: every trial is a stage of its own, `STAGE@trial=0` and so on, with drawn values of all settings; a larger search contains the smaller one.",
        "type": ["object", "null"],
        "required": ["n_trials", "over"],
        "additionalProperties": false,
        "properties": {
            "n_trials": { "description": "Number of trials.", "type": "integer", "minimum": 1 },
            "seed": { "description": "Seed of the draws; 0 by default.", "type": "integer", "minimum": 0 },
            "over": {
                "description": "Config paths, each with how its value is drawn.",
                "type": "object",
                "minProperties": 1,
                "additionalProperties": {
                    "type": "object",
                    "minProperties": 1,
                    "maxProperties": 1,
                    "additionalProperties": false,
                    "properties": {
                        "uniform": range,
                        "log_uniform": range,
                        "integer": range,
                        "choice": { "type": "array", "minItems": 1 },
                    },
                },
            },
        },
    })
}

fn inputs(kind: &StageKind) -> Value {
    let ports = (kind.inputs)();
    let required: Vec<&str> = ports.iter().filter(|port| port.arity == Arity::One).map(|port| port.name).collect();
    let properties: Map<String, Value> = ports.iter().map(|port| (port.name.to_owned(), input(port))).collect();
    let shape = if required.is_empty() { json!(["object", "null"]) } else { json!("object") };
    json!({ "type": shape, "properties": properties, "required": required, "additionalProperties": false })
}

fn input(port: &PortSpec) -> Value {
    let kind = a(port.kind);
    let one = json!({ "type": "string", "pattern": REFERENCE });
    match port.arity {
        Arity::One => {
            json!({ "description": format!("Takes {kind}."), "type": "string", "pattern": REFERENCE })
        }
        Arity::Optional => json!({
            "description": format!("Takes {kind}, or nothing."), "type": ["string", "null"], "pattern": REFERENCE,
        }),
        Arity::Many => json!({
            "description": format!("Any number of kind `{}`: one reference, a list, or a mapping of names to references.", port.kind),
            "anyOf": [
                one,
                { "type": "array", "items": one },
                { "type": "object", "additionalProperties": one },
                { "type": "null" },
            ],
        }),
    }
}

/// Lists the generators of the catalogue where a source names one.
fn generators(definitions: &mut Map<String, Value>, catalog: &Catalog) {
    let source = definitions.get_mut("Source").and_then(|source| source.get_mut("properties"));
    let Some(generate) = source.and_then(|properties| properties.get_mut("generate")) else { return };
    let choice = |row: &crate::Generator| json!({ "const": row.name, "description": row.about });
    let choices: Vec<Value> = catalog.generators.iter().map(choice).collect();
    if !choices.is_empty() {
        generate["anyOf"] = choices.into_iter().chain([json!({ "type": "null" })]).collect();
    }
}
