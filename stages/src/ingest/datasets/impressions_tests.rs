//! What a service showed, with the feedback of a table or a column.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Result;
use pipeline::impressions::Impression;
use pipeline::{Context, Stage as _};
use serde_json::{Value, json};

use crate::artifact::{Items, Users, encode_impressions};
use crate::ingest::datasets::impressions::{Impressions, Inputs, Outputs};

/// Two answers of two items each to `u1` and to somebody new, and one to `u0`, in two files.
fn write_log(folder: &Path) {
    let row = |answer: &str, user: Option<&str>, position: u32, item: &str, propensity: f64| Impression {
        time: 1_700_000_000_000_000 + i64::from(position),
        answer_id: answer.into(),
        user: user.map(Into::into),
        new_user: false,
        history: [].into(),
        restricted: false,
        policy: "p".into(),
        digest: "d".into(),
        share: 0.5,
        position,
        item: item.into(),
        policy_propensity: 1.0,
        propensity,
    };
    let first = [
        row("a", Some("u1"), 1, "i2", 0.5),
        row("a", Some("u1"), 2, "i0", 0.25),
        row("b", Some("zoe"), 1, "i1", 0.5),
        row("c", None, 1, "i1", 0.5),
    ];
    let second = [row("d", Some("u0"), 1, "i1", 0.125), row("d", Some("u0"), 2, "i2", 1.0)];
    fs::create_dir_all(folder.join("shown")).unwrap();
    fs::write(folder.join("shown/1.parquet"), encode_impressions(&first).unwrap()).unwrap();
    fs::write(folder.join("shown/2.parquet"), encode_impressions(&second).unwrap()).unwrap();
    fs::write(folder.join("shown/.new-abcdef"), "half").unwrap();
}

fn read(clicks: &str, with: Value) -> Result<Outputs> {
    let folder = tempfile::tempdir().unwrap();
    write_log(folder.path());
    fs::write(folder.path().join("clicks.csv"), clicks).unwrap();
    let mut cx = Context::detached(folder.path());
    cx.add_asset("x", folder.path());
    let texts = |letter: char, count: usize| (0..count).map(|k| format!("{letter}{k}")).collect::<Vec<_>>();
    let items = Items { id: texts('i', 3), title: texts('t', 3), ..Items::default() };
    let users = Users { id: texts('u', 2), features: BTreeMap::new() };
    let mut config = json!({ "asset": "x", "file": "shown" });
    config.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
    let stage: Impressions = serde_json::from_value(config)?;
    stage.check().map_err(|(path, message)| anyhow::anyhow!("{path}: {message}"))?;
    stage.run(Inputs { items, users }, &cx)
}

fn clicked() -> Value {
    json!({ "feedback": { "file": "clicks.csv", "reward": "click" } })
}

#[test]
fn rows_of_a_place_have_their_rewards_and_probabilities() {
    let clicks = "item,click,answer_id\ni1,3,d\ni1,5,d\ni0,1,a\ni2,7,zz\n";
    let Outputs { interactions: log, propensities } = read(clicks, clicked()).unwrap();
    // Of `a` item 0 was clicked, at the second place; of `d` the largest reward counts.
    assert_eq!((&log.user[..], &log.item[..], &log.rating[..]), (&[1, 0][..], &[2, 1][..], &[0.0, 5.0][..]));
    assert_eq!(log.timestamp, [1_700_000_000; 2]);
    assert_eq!(propensities.of(&log).unwrap(), [0.5, 0.125]);

    let mut second = clicked();
    second["at_position"] = 2.into();
    second["propensity"] = "policy_propensity".into();
    let Outputs { interactions: log, propensities } = read(clicks, second).unwrap();
    assert_eq!((&log.item[..], &log.rating[..]), (&[0, 2][..], &[1.0, 0.0][..]));
    assert_eq!(propensities.propensity, [1.0, 1.0]);

    // A reward may be a column, and every row an answer of its own.
    let whole = read("", json!({ "reward": "share", "position": null })).unwrap();
    assert_eq!(whole.interactions.rating, [0.5; 4]);
    let rows = read("answer_id,item\nd,i1\n", json!({ "feedback": { "file": "clicks.csv" } })).unwrap();
    assert_eq!(rows.interactions.rating, [0.0, 1.0]);
}

#[test]
fn what_does_not_fit_is_named() {
    let error = |clicks: &str, with: Value| format!("{:#}", read(clicks, with).err().unwrap());
    let found = error("item,click,answer_id\ni1,3,x\n", clicked());
    assert!(found.contains("none of the 1 items") && found.contains("item \"i1\" of answer \"x\"\nhelp: "), "{found}");
    assert!(error("item,click\ni1,1\n", clicked()).contains("answer_id"));
    let found = error("item,click,answer_id\ni1,many,d\n", clicked());
    assert!(found.contains("clicks.csv:2: column `click`: found \"many\""), "{found}");
    assert!(error("", json!({})).contains("reward: either a column of rewards, or `feedback`"));
    assert!(error("", json!({ "reward": "share", "at_position": 0 })).contains("at_position: a place from 1"));
    let found = error("", json!({ "reward": "share", "propensity": "position", "at_position": 2 }));
    assert!(found.contains("column `position`: found \"2\", wanted a probability above 0"), "{found}");
    assert!(error("", json!({ "reward": "shares" })).contains("shares"));
    assert!(error("", json!({ "reward": "share", "at_position": 9 })).contains("holds no valid interaction"));
}
