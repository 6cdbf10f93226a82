//! `ingest.transcripts` as a whole, alone and beside a log.

use std::fs;

use anyhow::Result;
use pipeline::{Context, Stage as _};

use crate::artifact::{Interactions, Items, Termination, Users};
use crate::ground::MatchSettings;
use crate::ingest::OnBadRow;
use crate::ingest::transcripts::import::*;
use crate::ingest::transcripts::ports::{Inputs, Outputs};

fn alone() -> Inputs {
    Inputs { items: None, users: None, interactions: None }
}

fn config() -> Transcripts {
    serde_json::from_value(serde_json::json!({
        "asset": "recorded", "files": "train", "id_files": "t", "titles": "maps.json", "genres": "genres.json"
    }))
    .unwrap()
}

fn run(config: &Transcripts) -> Result<Outputs> {
    run_with(config, alone())
}

fn run_with(config: &Transcripts, inputs: Inputs) -> Result<Outputs> {
    let folder = tempfile::tempdir().unwrap();
    let episode = |user: u64, lines: &[&str]| serde_json::json!({ "0": { "userid": user, "traj_by_line": lines } });
    let write = |name: &str, text: String| fs::write(folder.path().join(name), text).unwrap();
    write(
        "train.json",
        episode(
            9,
            &[
                "The user's viewing history is ['B', 'C'], please",
                "Thought 1: why",
                "Action 1: recommend[x]",
                "Observation 1: [x] can not be recommened, instead, recommend[A]",
                "Observation 1: Episode continue, reward=4",
                "Thought 2: again",
                "Action 2: recommend[B]",
                "Observation 2: Episode finished, User Stop, reward=-1000.000",
            ],
        )
        .to_string(),
    );
    write("test.json", episode(10, &["The user's viewing history is [], please"]).to_string());
    write("maps.json", r#"{"id2item_dict": {"10": "B", "2": "A", "3": "unseen", "4": "C"}}"#.into());
    write("genres.json", r#"{"A": "['war']", "B": "['indie', 'action']", "C": "['indie']"}"#.into());
    let mut cx = Context::detached(folder.path());
    cx.add_asset("recorded", folder.path());
    config.run(inputs, &cx)
}

#[test]
fn a_transcript_becomes_log_catalogue_users_and_demonstrations() {
    let out = run(&config()).unwrap();
    assert_eq!(
        (&out.items.id[..], &out.items.title[..]),
        (&["2", "4", "10"].map(String::from)[..], &["A", "C", "B"].map(String::from)[..])
    );
    assert_eq!(out.users.id, ["10", "9"]);
    assert_eq!(out.users.features["genre 1"], ["", "indie"]);
    assert_eq!(out.users.features["genre 2"], ["", "action"]);
    assert_eq!((&out.interactions.user[..], &out.interactions.item[..]), (&[1][..], &[0][..]));
    assert_eq!(out.interactions.rating, [4.0]);
    let trajectory = &out.demonstrations.trajectories[0];
    let steps: Vec<_> = trajectory.steps.iter().map(|step| (step.item, step.reward)).collect();
    assert_eq!((trajectory.user, trajectory.end, steps), (1, Termination::Stopped, vec![(0, 4.0), (2, 0.0)]));
    assert_eq!(out.calls.0[0].answer, r#""why\nrecommend[x]""#);
    assert!(out.calls.0[1].request.contains("instead, recommend[A]"));
    assert_eq!(trajectory.steps[1].call, out.calls.0[1].key);
}

#[test]
fn a_pair_with_two_rewards_is_covered_once_and_a_step_at_which_a_user_left_is_not() {
    let mut out = run(&config()).unwrap();
    assert_eq!(coverage(&out), "1 of 2 users × 3 items have a reward (16.67 %), of 1 users");
    out.interactions.user.extend([1, 1, 0]);
    out.interactions.item.extend([0, 2, 2]);
    assert_eq!(coverage(&out), "3 of 2 users × 3 items have a reward (50.00 %), of 2 users");
}

#[test]
fn the_step_at_which_a_user_left_is_kept_or_excluded_as_set() {
    let rewards = |on_quit| {
        let out = run(&Transcripts { on_quit, ..config() }).unwrap();
        out.demonstrations.trajectories[0].steps.iter().map(|step| step.reward).collect::<Vec<_>>()
    };
    assert_eq!(rewards(OnQuit::Reward(-1000.0)), [4.0, -1000.0]);
    assert_eq!(rewards(OnQuit::Exclude), [4.0]);
    let wrong = Transcripts { on_quit: OnQuit::Reward(f64::NAN), ..config() };
    assert_eq!(wrong.check().unwrap_err().0, "on_quit.reward");
}

#[test]
fn who_left_at_a_title_that_is_not_known_left_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let line = r#"{"user": "u", "steps": [{"title": "A", "reward": 4}, {"title": "?"}], "left": true}"#;
    fs::write(folder.path().join("recorded.ndjson"), line).unwrap();
    fs::write(folder.path().join("maps.json"), r#"{"id2item_dict": {"1": "A"}}"#).unwrap();
    let mut cx = Context::detached(folder.path());
    cx.add_asset("recorded", folder.path());
    let config =
        Transcripts { files: "recorded".into(), id_files: None, format: Format::Lines, genres: None, ..config() };
    assert!(config.run(alone(), &cx).err().unwrap().to_string().contains("wanted a title of the catalogue"));
    let out = Transcripts { on_bad_row: OnBadRow::Drop, ..config }.run(alone(), &cx).unwrap();
    let trajectory = &out.demonstrations.trajectories[0];
    assert_eq!((trajectory.steps.len(), trajectory.end), (1, Termination::Stopped));
}

/// Steps without a recorded item, one without a recommendation, and one whose recorded title is misspelt.
fn unrecorded(settings: serde_json::Value, on_bad_row: OnBadRow) -> Result<Outputs> {
    let folder = tempfile::tempdir().unwrap();
    let line = r#"{"user": "u", "steps": [{"said": "sims 3", "raw": "<b>", "reward": 4}, {"failed": "time-out"},
        {"said": "?", "title": "Braid.", "reward": 3}, {"said": "Anno 1800", "reward": 2}]}"#;
    fs::write(folder.path().join("recorded.ndjson"), line.replace('\n', "")).unwrap();
    let maps = r#"{"id2item_dict": {"5": "Anno 1404", "6": "Braid", "7": "The Sims™ 3", "8": "Seen by nobody"}}"#;
    fs::write(folder.path().join("maps.json"), maps).unwrap();
    let mut cx = Context::detached(folder.path());
    cx.add_asset("recorded", folder.path());
    let config = serde_json::json!({
        "asset": "recorded", "files": "recorded", "format": "lines", "titles": "maps.json", "ground": settings
    });
    Transcripts { on_bad_row, ..serde_json::from_value(config).unwrap() }.run(alone(), &cx)
}

#[test]
fn names_without_an_item_are_grounded_and_the_rest_follows_the_policy() {
    let items = |unmatched: &str| {
        let out = unrecorded(serde_json::json!({ "on_unmatched": unmatched }), OnBadRow::Refuse).unwrap();
        let steps = &out.demonstrations.trajectories[0].steps;
        steps.iter().map(|step| out.items.id[step.item as usize].clone()).collect::<Vec<_>>()
    };
    assert_eq!(items("drop"), ["7", "6"]);
    assert_eq!(items("nearest"), ["7", "6", "5"]);
    let error = unrecorded(serde_json::json!({}), OnBadRow::Refuse).err().unwrap().to_string();
    let (line, help) = error.split_once("\nhelp: ").unwrap();
    assert!(
        line.contains("recorded.ndjson:1: found the name \"Anno 1800\" (the most similar title, ")
            && line.contains("\"Anno 1404\""),
        "{error}"
    );
    assert!(help.starts_with("lower `ground.trigram`"), "{error}");
    let out = unrecorded(serde_json::json!({}), OnBadRow::Drop).unwrap();
    assert_eq!(out.items.id, ["6", "7"]);
    let loose = unrecorded(serde_json::json!({ "trigram": 0.3 }), OnBadRow::Refuse).unwrap();
    assert_eq!(loose.interactions.rating, [4.0, 3.0, 2.0]);
}

#[test]
fn answers_are_kept_as_they_came_and_so_are_those_without_a_recommendation() {
    let out = unrecorded(serde_json::json!({ "on_unmatched": "drop" }), OnBadRow::Refuse).unwrap();
    let answers: Vec<&str> = out.calls.0.iter().map(|call| call.answer.as_str()).collect();
    assert_eq!(answers, [r#""<b>""#, r#"{"failed":"time-out","raw":""}"#, r#""recommend[?]""#]);
    assert_eq!(out.demonstrations.trajectories[0].steps[1].call, out.calls.0[2].key);
}

#[test]
fn groundings_stand_beside_what_was_recorded() {
    let out = run(&config()).unwrap();
    let rows: Vec<_> = out.groundings.0.iter().map(|row| (row.said.as_str(), row.how.as_str(), row.agrees())).collect();
    assert_eq!(rows, [("B", "exact", Some(true)), ("x", "unmatched", Some(false))]);
    let out = unrecorded(serde_json::json!({ "on_unmatched": "drop" }), OnBadRow::Refuse).unwrap();
    let rows: Vec<_> = out.groundings.0.iter().map(|row| (row.said.as_str(), row.how.as_str(), row.agrees())).collect();
    assert_eq!(rows, [("?", "unmatched", None), ("Anno 1800", "unmatched", None), ("sims 3", "normalised", None)]);
    assert_eq!(out.groundings.0[1].title.as_deref(), Some("Anno 1404"), "the nearest, which was not taken");
}

#[test]
fn files_outside_of_the_asset_are_refused() {
    let outside = || Some("../titles.json".to_owned());
    assert_eq!(Transcripts { titles: outside(), ..config() }.check().unwrap_err().0, "titles");
    assert_eq!(Transcripts { genres: outside(), ..config() }.check().unwrap_err().0, "genres");
    let ground = MatchSettings { trigram: 0.0, ..MatchSettings::default() };
    assert_eq!(Transcripts { ground, ..config() }.check().unwrap_err().0, "ground.trigram");
    let on_quit = OnQuit::Reward(-1e39);
    assert_eq!(Transcripts { on_quit, ..config() }.check().unwrap_err().0, "on_quit.reward");
}

#[test]
fn where_all_that_was_said_is_left_out_the_policy_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("recorded.ndjson"), r#"{"user": "u", "steps": [{"said": "zzz", "reward": 4}]}"#)
        .unwrap();
    fs::write(folder.path().join("maps.json"), r#"{"id2item_dict": {"5": "Anno 1404"}}"#).unwrap();
    let mut cx = Context::detached(folder.path());
    cx.add_asset("recorded", folder.path());
    let config: Transcripts = serde_json::from_value(serde_json::json!({
        "asset": "recorded", "files": "recorded", "format": "lines", "titles": "maps.json", "ground": { "on_unmatched": "drop" }
    }))
    .unwrap();
    let error = config.run(alone(), &cx).err().unwrap().to_string();
    assert!(error.contains(": 1 steps have a title that matches no item, and `on_unmatched: drop`"), "{error}");
}

#[test]
fn files_that_are_not_there_and_titles_that_are_not_known_are_named() {
    let error = |config: Transcripts| format!("{:#}", run(&config).err().unwrap());
    let none = error(Transcripts { files: "valid".into(), ..config() });
    assert!(none.contains("no file of") && none.contains("`valid`"), "{none}");
    let empty = error(Transcripts { files: "test".into(), ..config() });
    assert!(empty.contains("no episode with a step in 1 files"), "{empty}");
    let genres = error(Transcripts { genres: Some("maps.json".into()), ..config() });
    assert!(genres.contains("the genres of \"id2item_dict\""), "{genres}");
    let mut named = config();
    named.titles = None;
    assert_eq!(run(&named).unwrap().items.title, ["A", "B", "C"]);
}

/// A log of the catalogue in another order without item A, of users 10 and 9; user 9 met B twice, C and an item of their own.
fn beside_a_log() -> Inputs {
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    Inputs {
        items: Some(Items {
            id: texts(&["4", "10", "77"]),
            title: texts(&["C", "B", "another"]),
            year: vec![None; 3],
            genres: vec![vec![]; 3],
            ..Items::default()
        }),
        users: Some(Users {
            id: texts(&["10", "8", "9"]),
            features: [("age".to_owned(), texts(&["1", "2", "3"]))].into(),
        }),
        interactions: Some(Interactions {
            user: vec![0, 2, 2, 2, 2, 1],
            item: vec![1, 1, 2, 0, 1, 1],
            rating: vec![1.0; 6],
            timestamp: vec![0, 0, 1, 2, 3, 0],
        }),
    }
}

fn same() -> Transcripts {
    Transcripts { user_ids: Some(UserIds::Same), ..config() }
}

#[test]
fn beside_a_log_episodes_have_its_numbers_and_what_they_told_is_named() {
    let out = run_with(&same(), beside_a_log()).unwrap();
    let Inputs { items, users, interactions } = beside_a_log();
    assert_eq!(
        (Some(&out.items), Some(&out.users), Some(&out.log)),
        (items.as_ref(), users.as_ref(), interactions.as_ref())
    );
    // A is not in that catalogue; at B the user left.
    let trajectory = &out.demonstrations.trajectories[0];
    let steps: Vec<_> = trajectory.steps.iter().map(|step| (step.item, step.reward)).collect();
    assert_eq!((trajectory.user, trajectory.end, steps), (2, Termination::Stopped, vec![(1, 0.0)]));
    assert!(out.interactions.is_empty());
    // Told were B and C: both rows of B, one of C, and none of another user.
    let told: Vec<_> = out.history.item.iter().zip(&out.history.timestamp).collect();
    assert_eq!((&out.history.user[..], told), (&[2, 2, 2][..], vec![(&1, &0), (&0, &2), (&1, &3)]));
}

#[test]
fn an_id_with_another_title_is_refused_and_titles_match_without_ids() {
    let renamed = |id: &str, title: &str| {
        let mut inputs = beside_a_log();
        let items = inputs.items.as_mut().unwrap();
        (items.id[0], items.title[0]) = (id.to_owned(), title.to_owned());
        inputs
    };
    let error = run_with(&same(), renamed("4", "D")).err().unwrap().to_string();
    let wanted =
        "item 4 is \"C\" in the transcripts and \"D\" in `items`; 1 of 2 common ids have different titles\nhelp: ";
    assert!(error.starts_with(wanted), "{error}");
    // A catalogue without titles has its ids as titles.
    assert_eq!(run_with(&same(), renamed("4", "4")).unwrap().history.len(), 3);
    // With another id C is not found by it, so that only B is told.
    assert_eq!(run_with(&same(), renamed("5", "C")).unwrap().history.item, [1, 1]);
    let by_title = Transcripts { item_ids: ItemIds::Titles, ..same() };
    assert_eq!(run_with(&by_title, renamed("5", "C")).unwrap().history.item, [1, 0, 1]);
    // Without a catalogue of its own the log's is taken, and titles are matched as written.
    let without = Transcripts { titles: None, genres: None, on_bad_row: OnBadRow::Drop, ..same() };
    assert_eq!(run_with(&without, renamed("5", "C")).unwrap().history.item, [1, 0, 1]);
}

#[test]
fn equal_ids_of_other_people_are_found_out_by_their_histories() {
    let mut inputs = beside_a_log();
    inputs.interactions.as_mut().unwrap().item = vec![1, 2, 2, 2, 2, 1];
    let error = run_with(&same(), inputs).err().unwrap().to_string();
    let wanted =
        "user 9 has none of the items in the log that the episode names as their history, as is so with 1 of 1 users";
    assert!(error.starts_with(wanted) && error.contains("\nhelp: set `user_ids: new`"), "{error}");
    let mut inputs = beside_a_log();
    inputs.users.as_mut().unwrap().id = vec!["a".into(), "b".into(), "c".into()];
    let error = run_with(&same(), inputs).err().unwrap().to_string();
    assert!(
        error.starts_with("none of the 2 users of the transcripts is one of the 3 users of `users`\nhelp: "),
        "{error}"
    );
    let mut inputs = beside_a_log();
    inputs.users.as_mut().unwrap().id[2] = "c".into();
    let error = run_with(&same(), inputs).err().unwrap().to_string();
    assert!(error.contains(": 1 episodes are of users outside of `users`, and 0 steps of items outside"), "{error}");
}

#[test]
fn new_users_follow_those_of_the_log_with_the_histories_that_were_told() {
    let new = Transcripts { user_ids: Some(UserIds::New), ..config() };
    let out = run_with(&new, beside_a_log()).unwrap();
    assert_eq!(out.users.id, ["10", "8", "9", "episode:10", "episode:9"]);
    assert_eq!(out.users.features["age"], ["1", "2", "3", "", ""]);
    assert_eq!(out.demonstrations.trajectories[0].user, 4);
    assert_eq!((&out.history.user[..], &out.history.item[..]), (&[4, 4][..], &[1, 0][..]));
    assert_eq!((&out.history.rating[..], &out.history.timestamp[..]), (&[1.0, 1.0][..], &[0, 1][..]));
    let log = beside_a_log().interactions.unwrap();
    assert_eq!(out.log.take(&[0, 1, 2, 3, 4, 5]), log);
    assert_eq!(out.log.take(&[6, 7]), out.history);
    // In a log of ratings nobody knows what the new users thought.
    let mut rated = beside_a_log();
    rated.interactions.as_mut().unwrap().rating[0] = 4.0;
    let out = run_with(&new, rated).unwrap();
    assert!(out.history.is_empty() && out.log.len() == 6);
    let mut taken = beside_a_log();
    taken.users.as_mut().unwrap().id[0] = "episode:9".into();
    assert!(run_with(&new, taken).err().unwrap().to_string().contains("has the id `episode:9` already"));
}

#[test]
fn how_users_are_matched_is_said_where_they_are_connected_and_nowhere_else() {
    let connected = |config: &Transcripts| {
        config.requirements().into_iter().map(|wanted| (wanted.port, wanted.connected)).collect::<Vec<_>>()
    };
    assert_eq!(connected(&config()), [("users", false), ("interactions", false)], "`items` may be connected alone");
    assert_eq!(connected(&same()), [("users", true), ("interactions", true), ("items", true)]);
    let alone = Inputs { users: None, interactions: None, ..beside_a_log() };
    let out = run_with(&config(), alone).unwrap();
    assert_eq!((out.items.len(), &out.users.id[..]), (3, &["10".to_owned(), "9".to_owned()][..]));
    assert!(out.log.is_empty() && out.history.is_empty());
}
