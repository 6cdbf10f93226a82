use super::*;
use crate::artifact::{Ids, World};
use crate::env::cluster_world;
use crate::nn::actor_critic::ActorCriticConfig;
use crate::nn::bcq_policy::BcqPolicy;
use crate::nn::{ActorCritic, Encoder, GruEncoder};

/// Three users `u0` and four items `i0`, the second and the third of which are both called `T1`.
fn world() -> World {
    let mut world = cluster_world(&[5.0, 4.0], 2, 1, 4, 3);
    let texts = |letter: char, count: usize| (0..count).map(|k| format!("{letter}{k}")).collect::<Vec<_>>();
    let titles = (0..4).map(|k| format!("T{}", k - usize::from(k == 2))).collect();
    world.ids = Ids { users: texts('u', 3), items: texts('i', 4), titles };
    world
}

fn batch_of(user: &str, history: &[&str], rewards: Vec<f32>, count: usize) -> RecommendBatch {
    let history = history.iter().map(|&item| item.to_owned()).collect();
    RecommendBatch {
        queries: vec![RecommendQuery { user: Some(user.into()), history, rewards, ..RecommendQuery::default() }],
        count,
        ..RecommendBatch::default()
    }
}

/// Of a network for [`world`].
fn config(encoder: Encoder) -> ActorCriticConfig {
    ActorCriticConfig {
        users: 3,
        items: 4,
        width: 2,
        window: 2,
        hidden_size: 4,
        prior_scale: 1.0,
        similarity_penalty: 0.0,
        similar_fraction: 0.5,
        encoder,
    }
}

fn ask_in(world: &World, encoder: Encoder, batch: &RecommendBatch) -> Result<Vec<Answer>> {
    let folder = tempfile::tempdir().unwrap();
    let config = config(encoder);
    let network = ActorCritic::new(config, &world.user_vectors, &world.item_vectors, 1).unwrap();
    let path = folder.path().join("policy");
    PolicyFile::new(network.export().unwrap(), "rl.bc", world).unwrap().write(&path).unwrap();
    Ok(load(&path)?.answer(batch)?.answers)
}

fn ask(user: &str, history: &[&str], count: usize) -> Result<Vec<Answer>> {
    ask_in(&world(), Encoder::Window, &batch_of(user, history, vec![], count))
}

fn ids(answers: &[Answer]) -> Vec<&str> {
    let mut ids: Vec<_> = answers[0].items.iter().map(|item| item.id.as_str()).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn repeats_follow_the_world_unless_the_history_is_excluded() {
    let allowed = ask("u2", &["i1", "T3"], 10).unwrap();
    assert_eq!((ids(&allowed), &allowed[0].note), (vec!["i0", "i1", "i2", "i3"], &None));
    assert!(allowed[0].items[0].score >= allowed[0].items[1].score);
    assert!(allowed[0].items[0].title.as_ref().unwrap().starts_with('T'));

    let excluding = RecommendBatch { exclude_history: true, ..batch_of("u2", &["i1", "T3"], vec![], 10) };
    let excluded = ask_in(&world(), Encoder::Window, &excluding).unwrap();
    assert_eq!(ids(&excluded), ["i0", "i2"]);
    assert_eq!(excluded[0].note.as_deref(), Some("2 instead of 4: the others are excluded"));
    let mut masked = world();
    masked.rules.repeats = Repeats::Masked;
    let follows = ask_in(&masked, Encoder::Window, &batch_of("u2", &["i1", "T3"], vec![], 10)).unwrap();
    assert_eq!(ids(&follows), ["i0", "i2"], "the world that it learned in shows nothing twice");

    // A history that is longer than any episode is masked as a whole, though only its end is read.
    let long = ["i0", "i1", "i2", "i1", "i2"];
    let excluding = RecommendBatch { exclude_history: true, ..batch_of("u2", &long, vec![], 10) };
    assert_eq!(ids(&ask_in(&world(), Encoder::Window, &excluding).unwrap()), ["i3"]);
    let excluding = RecommendBatch { exclude_history: true, ..batch_of("u2", &["i0", "i1", "i2", "i3"], vec![], 1) };
    let error = ask_in(&world(), Encoder::Window, &excluding).unwrap_err().to_string();
    assert!(error.starts_with("all 4 items of the policy's catalogue are in the history"), "{error}");
}

#[test]
fn a_policy_that_takes_only_what_is_usual_says_so_and_does_not_run_dry() {
    let world = world();
    let config = config(Encoder::Window);
    let network = |bias: [f32; 4]| {
        let network = ActorCritic::new(config.clone(), &world.user_vectors, &world.item_vectors, 3).unwrap();
        let mut arrays = network.params().export().unwrap();
        arrays.get_mut("bias").unwrap().data = bias.to_vec();
        network.params().import(&arrays).unwrap();
        network
    };
    // Behaviour takes item 0, else item 1, else items 2 and 3 alike; item 3 is worth most.
    let (values, behaviour) = (network([0.0, 10.0, 20.0, 30.0]), network([90.0, 60.0, 30.0, 30.0]));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy");
    let file = BcqPolicy::export(&values, &behaviour, 0.001).unwrap();
    PolicyFile::new(file, "rl.bcq", &world).unwrap().write(&path).unwrap();
    let ask = |history: &[&str], exclude_history| {
        let answers = load(&path)
            .unwrap()
            .answer(&RecommendBatch { exclude_history, ..batch_of("u0", history, vec![], 3) })
            .unwrap();
        let Answer { items, note, .. } = answers.answers.into_iter().next().unwrap();
        (items.into_iter().map(|item| item.id).collect::<Vec<_>>(), note.unwrap_or_default())
    };
    assert_eq!(
        ask(&[], false),
        (vec!["i0".into()], "1 instead of 3: the policy allows no other item in this state".into())
    );
    assert_eq!(ask(&["i0"], true).0, ["i1"]);
    assert_eq!(
        ask(&["i0", "i1"], true).0,
        ["i3", "i2"],
        "all that was usual is in the history: what is then, by value"
    );
}

#[test]
fn ids_are_ids_and_rows_are_asked_for_by_name() {
    // Ids that read like the row numbers of other users and items.
    let mut turned = world();
    let texts = |of: [&str; 4]| of.map(str::to_owned).to_vec();
    turned.ids =
        Ids { users: texts(["2", "1", "0", ""])[..3].to_vec(), items: texts(["3", "2", "1", "0"]), titles: vec![] };
    // All users of this world are alike; a vector of their own tells them apart.
    turned.user_vectors.data = vec![9.0, 0.0, 0.0, 9.0, -9.0, -9.0];
    let ask = |user: &str, rows: bool| {
        let answers =
            ask_in(&turned, Encoder::Window, &RecommendBatch { rows, ..batch_of(user, &[], vec![], 4) }).unwrap();
        answers[0].items.iter().map(|item| (item.id.parse::<u32>().unwrap(), item.score)).collect::<Vec<_>>()
    };
    let (by_id, by_row) = (ask("2", false), ask("0", true));
    let turned_back: Vec<_> = by_row.iter().map(|&(row, score)| (3 - row, score)).collect();
    assert_eq!(by_id, turned_back, "user `2` is in row 0, and items are named by id");
    assert_ne!(by_id, ask("0", false));

    let mut unknown = world();
    unknown.ids = Ids::default();
    let error = ask_in(&unknown, Encoder::Window, &batch_of("0", &[], vec![], 1)).unwrap_err().to_string();
    assert!(
        error.contains("does not say which users and items its rows stand for\nhelp: `apprentice recommend --rows`"),
        "{error}"
    );
    let rows = RecommendBatch { rows: true, ..batch_of("0", &["3"], vec![], 1) };
    assert!(ask_in(&unknown, Encoder::Window, &rows).is_ok());
    let beyond = RecommendBatch { rows: true, ..batch_of("0", &["i1"], vec![], 1) };
    let error = ask_in(&unknown, Encoder::Window, &beyond).unwrap_err().to_string();
    assert!(error.contains("no item \"i1\"\nhelp: with `--rows` items are row numbers from 0"), "{error}");
}

#[test]
fn who_and_what_is_not_known_is_named() {
    let error = |user, history: &[&str]| {
        let error = ask(user, history, 1).unwrap_err();
        assert!(error.chain().any(|cause| cause.is::<UsageError>()));
        format!("{error:#}")
    };
    assert!(error("7", &[]).contains("no user \"7\"\nhelp: it knows the 3 users"));
    assert!(error("u0", &["Heat"]).contains("no item \"Heat\"\nhelp: give its id"));
    let twice = error("u0", &["T1"]);
    assert!(twice.contains("2 items have the title \"T1\"\nhelp: give the id of one: i1, i2"), "{twice}");
}

#[test]
fn somebody_new_is_answered_with_the_mean_of_all_users() {
    let mut told = world();
    // A fourth user whose vector is the mean of the other three.
    told.user_vectors.data = vec![3.0, 0.0, 0.0, 3.0, -3.0, -3.0];
    let scores =
        |answers: Vec<Answer>| answers[0].items.iter().map(|item| (item.id.clone(), item.score)).collect::<Vec<_>>();
    let nobody = RecommendBatch { queries: vec![RecommendQuery::default()], count: 4, ..RecommendBatch::default() };
    let answers = ask_in(&told, Encoder::Window, &nobody).unwrap();
    assert!(answers[0].new_user && answers[0].user.is_none());
    let new = scores(answers);
    let unknown = RecommendBatch { new_users: true, ..batch_of("zoe", &[], vec![], 4) };
    let answers = ask_in(&told, Encoder::Window, &unknown).unwrap();
    assert!(answers[0].new_user && answers[0].user.as_deref() == Some("zoe"));
    assert_eq!(scores(answers), new);
    // The mean of these vectors is 0: that of a user who has just it answers alike, and the others do not.
    told.user_vectors.data[4..].copy_from_slice(&[0.0, 0.0]);
    let of = |user: &str, world: &World| {
        let answers =
            ask_in(world, Encoder::Window, &RecommendBatch { new_users: true, ..batch_of(user, &[], vec![], 4) });
        let answers = answers.unwrap();
        (answers[0].new_user, scores(answers))
    };
    let mut mean = told.clone();
    mean.user_vectors.data = vec![3.0, 0.0, -3.0, 0.0, 0.0, 0.0];
    assert_eq!(of("u2", &mean).1, of("zoe", &mean).1);
    assert!(!of("u2", &mean).0 && of("u0", &mean).1 != of("zoe", &mean).1);
}

#[test]
fn what_is_excluded_or_no_candidate_is_not_recommended() {
    let ask = |query: RecommendQuery| {
        let query = RecommendQuery { user: Some("u1".into()), ..query };
        ask_in(
            &world(),
            Encoder::Window,
            &RecommendBatch { queries: vec![query], count: 10, ..RecommendBatch::default() },
        )
    };
    let texts = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let all = ask(RecommendQuery::default()).unwrap();
    let some = ask(RecommendQuery { exclude: texts(&["i0"]), ..RecommendQuery::default() }).unwrap();
    let rest: Vec<_> = all[0].items.iter().filter(|item| item.id != "i0").cloned().collect();
    assert_eq!((&some[0].items, some[0].note.as_deref()), (&rest, Some("3 instead of 4: the others are excluded")));
    let among = RecommendQuery { candidates: Some(texts(&["i3", "T0", "i3"])), ..RecommendQuery::default() };
    let answers = ask(among.clone()).unwrap();
    let among_all: Vec<_> = all[0].items.iter().filter(|item| ["i0", "i3"].contains(&&*item.id)).cloned().collect();
    assert_eq!((&answers[0].items, &answers[0].note), (&among_all, &None));
    assert_eq!(ask(RecommendQuery { top_k: Some(1), ..among.clone() }).unwrap()[0].items, among_all[..1]);
    let error = ask(RecommendQuery { exclude: texts(&["i0", "i3"]), ..among }).unwrap_err().to_string();
    assert!(error.starts_with("none of the 2 candidates may be recommended"), "{error}");
    let error = ask(RecommendQuery { candidates: Some(vec![]), ..RecommendQuery::default() }).unwrap_err().to_string();
    assert!(error.starts_with("none of the 0 candidates may be recommended"), "{error}");
    let error = ask(RecommendQuery { candidates: Some(texts(&["x"])), ..RecommendQuery::default() }).unwrap_err();
    assert!(error.to_string().contains("no item \"x\""), "{error}");
}

#[test]
fn rewards_are_wanted_only_by_a_policy_that_reads_them() {
    let ask = |encoder, history: &[&str], rewards| ask_in(&world(), encoder, &batch_of("u0", history, rewards, 1));
    let error = |encoder, rewards| ask(encoder, &["i1", "i2"], rewards).unwrap_err().to_string();
    let reads = error(Encoder::Gru(GruEncoder { hidden_size: 3 }), vec![]);
    assert!(reads.contains("2 items and 0 rewards\nhelp: this policy reads the reward of each item"), "{reads}");
    let ignores = error(Encoder::Window, vec![4.0]);
    assert!(ignores.contains("help: this policy does not read rewards: leave them out"), "{ignores}");
    assert!(ask(Encoder::Window, &["i1"], vec![]).is_ok());
}
