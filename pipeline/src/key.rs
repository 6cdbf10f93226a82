//! The key of a stage: what its result depends on, in clear, and the BLAKE3 of that.
//!
//! In it: the engine's version, the stage's kind and version, its config with every default filled in, the contents and
//! formats of its inputs, the formats of its outputs, the contents of its assets. Not in it: names of stages, assets and
//! files, times, hosts, threads, secrets, and the config fields that the stage lists in [`crate::Stage::NOT_IN_KEY`]. An input of a
//! `Many` port carries the name and the sweep cell that it goes by, because the stage sees them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{AnyStage, Arity, PortSpec, StageKind, secret};

/// Raised when the engine itself should give other results: the meaning of the key, or how inputs reach a stage.
pub(crate) const ENGINE: u32 = 1;

/// What one reference of an input port brings to the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Input {
    pub name: String,
    pub cell: String,
    pub digest: String,
}

/// Everything that a stage's result depends on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeyMaterial {
    pub engine: u32,
    pub kind: String,
    pub version: u32,
    pub config: Value,
    /// Port → its artifacts, each `{ kind, format, digest }`, in a `Many` port also `name` and `cell`.
    pub inputs: Map<String, Value>,
    /// Port → `{ kind, format }`.
    pub outputs: Map<String, Value>,
    /// The digests of the assets, in the order in which the stage lists them.
    pub assets: Vec<String>,
}

impl KeyMaterial {
    /// The material of `stage` with `assets` (`name`, `digest`) and with `inputs`, which answers with what is connected to a
    /// port.
    pub fn new(
        kind: &StageKind,
        stage: &dyn AnyStage,
        assets: &[(String, String)],
        inputs: &dyn Fn(&str) -> Vec<Input>,
    ) -> Self {
        let mut config = stage.config();
        hide_asset_names(kind, assets, &mut config);
        forget_secrets(&mut config);
        for path in kind.not_in_key {
            remove(&mut config, path);
        }
        let input = |port: &PortSpec, input: Input| {
            let mut row = json!({ "kind": port.kind, "format": port.format, "digest": input.digest });
            if port.arity == Arity::Many {
                row["name"] = input.name.into();
                row["cell"] = input.cell.into();
            }
            row
        };
        let rows = |port: &PortSpec| inputs(port.name).into_iter().map(|found| input(port, found)).collect::<Vec<_>>();
        let absent = |name: &str, rows: &[Value]| rows.is_empty() && kind.added_ports.contains(&name);
        Self {
            engine: ENGINE,
            kind: kind.kind.into(),
            version: kind.version,
            config,
            inputs: (kind.inputs)()
                .iter()
                .map(|port| (port.name, rows(port)))
                .filter(|(name, rows)| !absent(name, rows))
                .map(|(name, rows)| (name.into(), Value::Array(rows)))
                .collect(),
            outputs: (kind.outputs)()
                .iter()
                .map(|port| (port.name.into(), json!({ "kind": port.kind, "format": port.format })))
                .collect(),
            assets: assets.iter().map(|(_, digest)| digest.clone()).collect(),
        }
    }

    /// Puts the digests of last time in the place of those that are empty, because nobody knows them yet: what then still
    /// differs is not the doing of what is to be made.
    pub fn assume(&mut self, last: &Self) {
        for (port, rows) in &mut self.inputs {
            let known = last.inputs.get(port).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            for (index, row) in rows.as_array_mut().into_iter().flatten().enumerate() {
                if row["digest"] != "" {
                    continue;
                }
                let same = |old: &&Value| old["name"] == row["name"] && old["cell"] == row["cell"];
                let old = if row["name"].is_null() { known.get(index) } else { known.iter().find(same) };
                if let Some(old) = old {
                    row["digest"] = old["digest"].clone();
                }
            }
        }
    }

    /// The key: 64 hex digits.
    pub fn key(&self) -> String {
        let value = serde_json::to_value(self).expect("key material is plain JSON: maps with text keys");
        blake3::hash(canonical(&value).as_bytes()).to_hex().to_string()
    }
}

/// JSON without spaces and with its maps in order, so that equal values give equal texts.
fn canonical(value: &Value) -> String {
    fn sorted(value: &Value) -> Value {
        match value {
            Value::Array(rows) => rows.iter().map(sorted).collect(),
            Value::Object(map) => {
                let mut rows: Vec<_> = map.iter().map(|(name, value)| (name.clone(), sorted(value))).collect();
                rows.sort_by(|one, other| one.0.cmp(&other.0));
                Value::Object(rows.into_iter().collect())
            }
            plain => plain.clone(),
        }
    }
    sorted(value).to_string()
}

/// Puts null in the place of every secret, so that neither a secret nor the name of its variable changes a key. Only fields
/// of type [`crate::Secret`] can hold such a text: the experiment's reader refuses it elsewhere.
fn forget_secrets(config: &mut Value) {
    match config {
        Value::String(text) if secret::variable(text).is_some() => *config = Value::Null,
        Value::Array(values) => values.iter_mut().for_each(forget_secrets),
        Value::Object(map) => map.values_mut().for_each(forget_secrets),
        _ => {}
    }
}

/// Takes the field at a dotted path out, where it is.
fn remove(config: &mut Value, path: &str) {
    let (parents, last) = path.rsplit_once('.').map_or((None, path), |(parents, last)| (Some(parents), last));
    let parent = config.pointer_mut(&parents.map(pointer).unwrap_or_default());
    if let Some(Value::Object(map)) = parent {
        // `remove` would move the last field into the gap.
        map.shift_remove(last);
    }
}

fn pointer(path: &str) -> String {
    path.split('.').map(|part| format!("/{}", part.replace('~', "~0").replace('/', "~1"))).collect()
}

/// Puts the digest in the place of each asset name in the config, so that a renamed asset changes no key.
///
/// A text that equals the name of an asset need not be one. Which ones are is asked of the stage: when another name in the
/// same place shows up in its list of assets, the place holds an asset.
fn hide_asset_names(kind: &StageKind, assets: &[(String, String)], config: &mut Value) {
    const PROBE: &str = "\u{1}probe";
    let whole = config.clone();
    for place in texts(&whole, String::new()) {
        let text = whole.pointer(&place).and_then(Value::as_str).unwrap_or_default();
        let Some((_, digest)) = assets.iter().find(|(name, _)| name == text) else { continue };
        let mut probe = whole.clone();
        set(&mut probe, &place, PROBE);
        if (kind.parse)(probe).is_ok_and(|stage| stage.assets().iter().any(|name| name.0 == PROBE)) {
            set(config, &place, &format!("asset {digest}"));
        }
    }
}

fn set(config: &mut Value, place: &str, text: &str) {
    if let Some(found) = config.pointer_mut(place) {
        *found = text.into();
    }
}

/// JSON pointers to every text below `value`.
fn texts(value: &Value, place: String) -> Vec<String> {
    match value {
        Value::String(_) => vec![place],
        Value::Array(rows) => {
            rows.iter().enumerate().flat_map(|(index, row)| texts(row, format!("{place}/{index}"))).collect()
        }
        Value::Object(map) => {
            let escaped = |name: &str| name.replace('~', "~0").replace('/', "~1");
            map.iter().flat_map(|(name, row)| texts(row, format!("{place}/{}", escaped(name)))).collect()
        }
        _ => vec![],
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use schemars::JsonSchema;
    use serde_json::json;

    use super::*;
    use crate::{AssetName, Context, Stage, ports};

    ports! { struct Nothing {} }

    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Model {
        name: String,
        asset: Option<AssetName>,
        remote: Remote,
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Remote {
        url: String,
        in_flight: u32,
    }

    impl Stage for Model {
        const KIND: &'static str = "model";
        const VERSION: u32 = 2;
        const ABOUT: &'static str = "A model.";
        const NOT_IN_KEY: &'static [&'static str] = &["remote.in_flight"];
        type Inputs = Nothing;
        type Outputs = Nothing;
        fn assets(&self) -> Vec<AssetName> {
            self.asset.iter().cloned().collect()
        }
        fn run(&self, _: Nothing, _: &Context) -> anyhow::Result<Nothing> {
            Ok(Nothing {})
        }
    }

    static KIND: StageKind = StageKind::of::<Model>();

    fn material(config: Value, assets: &[(&str, &str)]) -> KeyMaterial {
        let Ok(stage) = (KIND.parse)(config) else { panic!("no config of the stage") };
        let assets: Vec<_> = assets.iter().map(|(name, digest)| (name.to_string(), digest.to_string())).collect();
        KeyMaterial::new(&KIND, &*stage, &assets, &|_| vec![])
    }

    #[test]
    fn a_secret_is_in_no_key() {
        let mut config = json!({ "llm": { "key": "${env:ONE}", "keys": ["${env:TWO}", "x"] }, "price": "$1" });
        forget_secrets(&mut config);
        assert_eq!(config, json!({ "llm": { "key": null, "keys": [null, "x"] }, "price": "$1" }));
    }

    fn config(name: &str, asset: &str, in_flight: u32) -> Value {
        json!({ "name": name, "asset": asset, "remote": { "url": "u", "in_flight": in_flight } })
    }

    #[test]
    fn the_name_of_an_asset_gives_way_to_its_digest_and_other_equal_texts_stay() {
        let found = material(config("smol", "smol", 4), &[("smol", "d1")]);
        assert_eq!(found.config, json!({ "name": "smol", "asset": "asset d1", "remote": { "url": "u" } }));
        assert_eq!(found.key(), material(config("smol", "big", 9), &[("big", "d1")]).key());
        assert_ne!(found.key(), material(config("big", "big", 4), &[("big", "d1")]).key());
        assert_ne!(found.key(), material(config("smol", "smol", 4), &[("smol", "d2")]).key());
    }

    /// What a stage may be fed with: `(name, cell, digest)` for each input, by port.
    type Fed = (Vec<(String, String, String)>, Option<String>);

    ports! { struct Fan { many: crate::Many<Leaf>, one: Option<Leaf> } }

    struct Leaf;

    impl crate::Artifact for Leaf {
        const KIND: &'static str = "leaf";
        const EXTENSION: &'static str = "txt";
        const FORMAT: u32 = 1;
        fn write(&self, _: &std::path::Path) -> anyhow::Result<()> {
            Ok(())
        }
        fn read(_: &std::path::Path) -> anyhow::Result<Self> {
            Ok(Self)
        }
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
    struct Gather {
        rate: f64,
        words: Vec<String>,
        deep: std::collections::BTreeMap<String, i64>,
        retries: u32,
    }

    impl Stage for Gather {
        const KIND: &'static str = "gather";
        const VERSION: u32 = 1;
        const ABOUT: &'static str = "Gathers.";
        const NOT_IN_KEY: &'static [&'static str] = &["retries"];
        type Inputs = Fan;
        type Outputs = Nothing;
        fn run(&self, _: Fan, _: &Context) -> anyhow::Result<Nothing> {
            Ok(Nothing {})
        }
    }

    static GATHER: StageKind = StageKind::of::<Gather>();

    #[test]
    fn a_port_that_came_later_is_in_the_key_only_where_something_is_connected() {
        let config = Gather { rate: 0.5, words: vec![], deep: [].into(), retries: 0 };
        let inputs = |connected: bool| {
            let Ok(stage) = (GATHER.parse)(serde_json::to_value(&config).unwrap()) else { panic!("no config") };
            let input = Input { name: "a".into(), cell: String::new(), digest: "d1".into() };
            let found = move |port: &str| if connected && port == "one" { vec![input.clone()] } else { vec![] };
            let later = StageKind { added_ports: &["one"], ..StageKind::of::<Gather>() };
            [&GATHER, &later].map(|kind| KeyMaterial::new(kind, &*stage, &[], &found))
        };
        let [before, later] = inputs(false);
        assert_eq!(
            (before.inputs.keys().count(), later.inputs.keys().cloned().collect::<Vec<_>>()),
            (2, vec!["many".to_owned()])
        );
        let [before, later] = inputs(true);
        assert_eq!((before.key(), later.inputs["one"][0]["digest"].as_str()), (later.key(), Some("d1")));
    }

    fn gathered(config: &Gather, (many, one): &Fed, one_name: &str) -> String {
        let Ok(stage) = (GATHER.parse)(serde_json::to_value(config).unwrap()) else { panic!("no config of the stage") };
        let inputs = |port: &str| match port {
            "many" => many
                .iter()
                .map(|(name, cell, digest)| Input { name: name.clone(), cell: cell.clone(), digest: digest.clone() })
                .collect(),
            _ => one
                .iter()
                .map(|digest| Input { name: one_name.into(), cell: one_name.into(), digest: digest.clone() })
                .collect(),
        };
        KeyMaterial::new(&GATHER, &*stage, &[], &inputs).key()
    }

    /// Few different values, so that equal ones are met as often as different ones.
    fn few(pattern: &'static str) -> impl Strategy<Value = String> {
        proptest::string::string_regex(pattern).unwrap()
    }

    prop_compose! {
        fn gather()(
            rate in prop::sample::select(vec![0.0, 0.1, 0.2, 0.1 + 0.2, 0.3, 1e300, -1.0]),
            words in prop::collection::vec(few("[ab\"]{0,2}"), 0..3),
            deep in prop::collection::btree_map(few("[a.~/]"), 0..3_i64, 0..3),
            retries in 0..3_u32,
        ) -> Gather {
            Gather { rate, words, deep, retries }
        }
    }

    fn fed() -> impl Strategy<Value = Fed> {
        let input = (few("[ab]"), few("(|x=[12])"), few("d[12]"));
        (prop::collection::vec(input, 0..3), prop::option::of(few("d[12]")))
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_key_changes_if_and_only_if_something_keyed_changes(
            one in gather(), other in gather(), same_config: bool,
            fed in fed(), fed_otherwise in fed(), same_fed: bool,
            names in (few("[ab]"), few("[ab]")),
        ) {
            let other = if same_config { Gather { retries: other.retries, ..one.clone() } } else { other };
            let fed_otherwise = if same_fed { fed.clone() } else { fed_otherwise };
            let keyed = |config: &Gather| Gather { retries: 0, ..config.clone() };
            let equal = keyed(&one) == keyed(&other) && fed == fed_otherwise;
            let keys = (gathered(&one, &fed, &names.0), gathered(&other, &fed_otherwise, &names.1));
            prop_assert_eq!(keys.0 == keys.1, equal);
        }
    }

    #[test]
    fn every_part_counts_and_the_order_of_fields_does_not() {
        let base = material(config("smol", "smol", 4), &[("smol", "d1")]);
        let changes: [fn(&mut KeyMaterial); 7] = [
            |m| m.engine += 1,
            |m| m.kind.push('x'),
            |m| m.version += 1,
            |m| m.config["remote"]["url"] = json!("v"),
            |m| drop(m.inputs.insert("a".into(), json!([]))),
            |m| drop(m.outputs.insert("a".into(), json!({}))),
            |m| m.assets.push("d2".into()),
        ];
        for (index, change) in changes.iter().enumerate() {
            let mut other = base.clone();
            change(&mut other);
            assert_ne!(other.key(), base.key(), "change {index}");
        }
        let turned = json!({ "remote": { "url": "u" }, "asset": "asset d1", "name": "smol" });
        assert_eq!(KeyMaterial { config: turned, ..base.clone() }.key(), base.key());
    }
}
