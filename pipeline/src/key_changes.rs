//! How the key of a stage differs from the previous one, field by field: the reason of a run, and everything that changed.

use serde_json::{Map, Value};

use crate::MissReason;
use crate::key::KeyMaterial;
use crate::reason::short;

/// Compares the key of now with the last one of the same stage; `asset_names` are the stage's, in its order. Causes
/// nearer to the user's hand come first.
pub(crate) fn reason_of(old: &KeyMaterial, new: &KeyMaterial, asset_names: &[String]) -> MissReason {
    if old.kind != new.kind {
        return MissReason::Kind { old: old.kind.clone(), new: new.kind.clone() };
    }
    for (what, old, new) in [("engine", old.engine, new.engine), (&*new.kind, old.version, new.version)] {
        if old != new {
            return MissReason::Version { what: what.into(), old, new };
        }
    }
    let asset = |digest: &str| {
        let known = new.assets.iter().position(|found| found == digest).and_then(|index| asset_names.get(index));
        MissReason::Asset { name: known.cloned().unwrap_or_else(|| short(digest)) }
    };
    if let Some((path, old, new)) = differences(&old.config, &new.config, "").into_iter().next() {
        // Where the config names an asset, the key holds its digest; that the asset is another one says more than both.
        return match (asset_digest(&old), asset_digest(&new)) {
            (Some(_), Some(digest)) => asset(digest),
            _ => MissReason::Config { path, old, new },
        };
    }
    if let Some(digest) = new.assets.iter().find(|digest| !old.assets.contains(digest)) {
        return asset(digest);
    }
    if let Some((port, _)) = new.outputs.iter().find(|(port, row)| old.outputs.get(*port) != Some(row)) {
        return MissReason::Format { port: port.clone() };
    }
    inputs(&old.inputs, &new.inputs).into_iter().next().unwrap_or(MissReason::New)
}

/// The input ports that differ.
fn inputs(old: &Map<String, Value>, new: &Map<String, Value>) -> Vec<MissReason> {
    let mut found = Vec::new();
    let none = vec![];
    let rows = |map: &'_ Map<String, Value>, port: &str| map.get(port).and_then(Value::as_array).cloned();
    let gone = old.keys().filter(|port| !new.contains_key(*port));
    for port in new.keys().chain(gone) {
        let [old, new] = [old, new].map(|map| rows(map, port).unwrap_or(none.clone()));
        if old == new {
            continue;
        }
        let formats = |rows: &[Value]| rows.iter().map(|row| row["format"].clone()).collect::<Vec<_>>();
        if old.len() == new.len() && formats(&old) != formats(&new) {
            found.push(MissReason::Format { port: port.clone() });
            continue;
        }
        let only_in = |rows: &[Value], others: &[Value]| {
            let words: Vec<_> = rows.iter().filter(|row| !others.contains(row)).map(in_words).collect();
            if words.is_empty() { "nothing".into() } else { words.join(", ") }
        };
        let (was, is) = (only_in(&old, &new), only_in(&new, &old));
        // Equal sets in another order.
        let (was, is) = if was == is { ("one order".into(), "another".into()) } else { (was, is) };
        found.push(MissReason::Input { port: port.clone(), old: was, new: is });
    }
    found
}

fn in_words(row: &Value) -> String {
    // `plan` does not know the content of what is still to be made.
    let digest = match row["digest"].as_str() {
        Some("") | None => "to be made".to_owned(),
        Some(digest) => short(digest),
    };
    match (row["name"].as_str(), row["cell"].as_str()) {
        (Some(name), Some("") | None) => format!("{name} {digest}"),
        (Some(name), Some(cell)) => format!("{name}@{cell} {digest}"),
        _ => digest,
    }
}

/// Everything that differs between two keys of one stage: dotted path, old, new.
pub(crate) fn changes(old: &KeyMaterial, new: &KeyMaterial) -> Vec<(String, Value, Value)> {
    let json = |material: &KeyMaterial| {
        let rest = KeyMaterial { inputs: Map::new(), ..material.clone() };
        serde_json::to_value(rest).expect("key material is plain JSON: maps with text keys")
    };
    let mut all = differences(&json(old), &json(new), "");
    all.extend(inputs(&old.inputs, &new.inputs).into_iter().map(|reason| match reason {
        MissReason::Input { port, old, new } => (format!("inputs.{port}"), old.into(), new.into()),
        other => (other.to_string(), Value::Null, Value::Null),
    }));
    all
}

/// Every difference of two configs, in the order of the new one: dotted path (below `path`), old, new.
pub(crate) fn differences(old: &Value, new: &Value, path: &str) -> Vec<(String, Value, Value)> {
    let mut found = Vec::new();
    compare(old, new, path, &mut found);
    found
}

fn compare(old: &Value, new: &Value, path: &str, found: &mut Vec<(String, Value, Value)>) {
    let below = |part: &str| if path.is_empty() { part.to_owned() } else { format!("{path}.{part}") };
    match (old, new) {
        (Value::Object(olds), Value::Object(news)) => {
            // A variant of an enum is a map of one field: that the variant changed says it all.
            let variant = olds.len() == 1 && news.len() == 1 && olds.keys().ne(news.keys());
            if variant && !path.is_empty() {
                found.push((path.into(), old.clone(), new.clone()));
                return;
            }
            let gone = olds.keys().filter(|name| !news.contains_key(*name));
            for name in news.keys().chain(gone) {
                let [old, new] = [olds, news].map(|map| map.get(name).unwrap_or(&Value::Null));
                compare(old, new, &below(name), found);
            }
        }
        (Value::Array(olds), Value::Array(news)) if olds.len() == news.len() => {
            for (index, (old, new)) in olds.iter().zip(news).enumerate() {
                compare(old, new, &format!("{path}[{index}]"), found);
            }
        }
        _ if old != new => found.push((path.into(), old.clone(), new.clone())),
        _ => {}
    }
}

fn asset_digest(value: &Value) -> Option<&str> {
    value.as_str()?.strip_prefix("asset ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn material() -> KeyMaterial {
        serde_json::from_value(json!({
            "engine": 1, "kind": "rl.a2c", "version": 3,
            "config": { "gamma": 0.9, "llm": { "gguf": { "asset": "asset aa" } }, "layers": [64, 32] },
            "inputs": {
                "world": [{ "kind": "world", "format": 1, "digest": "0123456789abcdef" }],
                "policies": [
                    { "kind": "policy", "format": 1, "digest": "11", "name": "a2c", "cell": "seed=0" },
                    { "kind": "policy", "format": 1, "digest": "22", "name": "bc", "cell": "" },
                ],
            },
            "outputs": { "policy": { "kind": "policy", "format": 1 } },
            "assets": ["aa"],
        }))
        .unwrap()
    }

    #[track_caller]
    fn says(change: impl Fn(&mut KeyMaterial), words: &str) {
        let mut new = material();
        change(&mut new);
        assert_eq!(reason_of(&material(), &new, &["model".into()]).to_string(), words);
    }

    #[test]
    fn every_cause_is_told_with_old_and_new() {
        says(|m| m.config["gamma"] = json!(0.95), "gamma 0.9 → 0.95");
        says(|m| m.config["layers"][1] = json!(16), "layers[1] 32 → 16");
        says(|m| m.config["layers"] = json!([64]), "layers [64,32] → [64]");
        says(|m| m.config["clip"] = json!("hard"), "clip none → hard");
        says(|m| m.config["gamma"] = json!(""), r#"gamma 0.9 → """#);
        says(|m| m.config["llm"] = json!({ "openai": 1 }), r#"llm {"gguf":{"asset":"asset aa"}} → {"openai":1}"#);
        says(|m| m.version = 4, "version of rl.a2c 3 → 4");
        says(|m| m.engine = 2, "version of engine 1 → 2");
        says(|m| m.kind = "rl.dqn".into(), "use rl.a2c → rl.dqn");
        says(|m| m.inputs["world"][0]["digest"] = json!("fedc"), "input world changed: 0123456789 → fedc");
        says(|m| m.inputs["world"][0]["format"] = json!(2), "the file format of world changed");
        says(|m| m.outputs["policy"]["format"] = json!(2), "the file format of policy changed");
        says(
            |m| m.inputs["policies"][0]["digest"] = json!("33"),
            "input policies changed: a2c@seed=0 11 → a2c@seed=0 33",
        );
        says(|m| m.inputs["policies"] = json!([]), "input policies changed: a2c@seed=0 11, bc 22 → nothing");
        says(|m| m.inputs["policies"].as_array_mut().unwrap().reverse(), "input policies changed: one order → another");
    }

    #[test]
    fn another_content_of_an_asset_is_told_by_its_name() {
        let changed = |m: &mut KeyMaterial| {
            m.assets = vec!["bb".into()];
            m.config["llm"]["gguf"]["asset"] = json!("asset bb");
        };
        says(changed, "the content of asset model changed");
        says(|m| m.assets = vec!["bb".into()], "the content of asset model changed");
    }
}
