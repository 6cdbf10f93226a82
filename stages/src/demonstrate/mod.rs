//! A language model recommends to simulated users, and what it does is written down.
//!
//! Each turn a retriever offers the best items that the episode has not shown, the model chooses one by its title, and the
//! world answers. The model knows what the user liked in the training log and what came of its last recommendations; it
//! never sees the world's rewards before it chose, nor the distances behind the quit rules.
//!
//! # Resume
//! An episode is a function of the answers, and every answer is in the call store before it is used, so the stage needs no
//! state of its own: after a kill it plays the episodes again from the store up to the call that was never answered.
//! Experiments share the store, so the same user in the same world is asked once.
//!
//! Not here: free-text recommendation, memories across episodes, reflection, calls in batches.

mod desk;
mod episode;
mod prompt;

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use pipeline::progress::Bar;
use pipeline::units::Vault;
use pipeline::{AssetName, Context, Stage};
use rand::seq::SliceRandom;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::{Call, Calls, Demonstrations, Interactions, Items, Rankings, World};
use crate::llm::{Llm, LlmConfig};
use crate::nn::rng;
use desk::Desk;
use episode::{Played, Table};
use prompt::Prompt;

/// `demonstrate`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Demonstrate {
    /// The language model.
    pub llm: LlmConfig,
    /// How many users it recommends to, one episode each. A larger number keeps those of a smaller one.
    #[serde(default = "Demonstrate::sixteen")]
    pub users: usize,
    /// Which users.
    #[serde(default)]
    pub seed: u64,
    /// How many candidates it chooses from, 1 to 10: the best of the user's ranking that the episode has not shown.
    #[serde(default = "Demonstrate::ten")]
    pub candidates: usize,
    /// How many of the user's best rated items of the training log the prompt names.
    #[serde(default = "Demonstrate::five")]
    pub liked: usize,
    /// How many of the episode's last items the prompt tells about, at least; up to twice as many, because the window moves
    /// on in whole blocks, which keeps the evaluated beginning of the prompt.
    #[serde(default = "Demonstrate::seven")]
    pub remember: usize,
    /// What an item is, in a word, as the prompt says it.
    #[serde(default = "Demonstrate::item")]
    pub noun: String,
    /// The first words of the prompt, in place of the program's own.
    #[serde(default)]
    pub instructions: Option<String>,
}

/// Defaults that serde asks for by name; the design's figures for a small embedded model.
impl Demonstrate {
    fn sixteen() -> usize {
        16
    }
    fn ten() -> usize {
        10
    }
    fn five() -> usize {
        5
    }
    /// IL-Rec's window of similar items.
    fn seven() -> usize {
        7
    }
    fn item() -> String {
        "item".into()
    }
}

pipeline::ports! {
    /// Whom it recommends to, and what.
    pub struct Inputs {
        /// Where the episodes are played.
        world: World,
        /// The catalogue, for the titles.
        items: Items,
        /// What the users rated before; nothing kept back.
        train: Interactions,
        /// The retriever's offers.
        rankings: Rankings,
    }
}

pipeline::ports! {
    /// What it did.
    pub struct Outputs {
        /// One trajectory a user, by user.
        demonstrations: Demonstrations,
        /// Every call behind them.
        calls: Calls,
    }
}

impl Stage for Demonstrate {
    const KIND: &'static str = "demonstrate";
    /// 1: first.
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "let a language model recommend to simulated users and keep what it did";
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn assets(&self) -> Vec<AssetName> {
        self.llm.asset().into_iter().collect()
    }

    fn check(&self) -> Result<(), (String, String)> {
        let wrong = |path: &str, wanted: &str| Err((path.to_owned(), wanted.to_owned()));
        if self.users == 0 {
            return wrong("users", "at least one user");
        }
        if !(1..=10).contains(&self.candidates) {
            return wrong("candidates", "1 to 10 candidates: each title costs the model tokens every turn");
        }
        if self.remember == 0 {
            return wrong("remember", "at least one item");
        }
        if self.noun.trim().is_empty() {
            return wrong("noun", "a word for what is recommended, such as `movie`");
        }
        Ok(())
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let llm = self.llm.open(cx)?;
        self.demonstrate(&*llm, &inputs, cx)
    }
}

impl Demonstrate {
    fn demonstrate(&self, llm: &dyn Llm, inputs: &Inputs, cx: &Context) -> Result<Outputs> {
        self.compare(inputs)?;
        let (world, noun) = (&inputs.world, self.noun.trim());
        let prompt = Prompt::new(noun, self.instructions.as_deref(), self.remember, &inputs.items, &inputs.train)?;
        let desk = Desk::new(llm, Vault::open(cx.calls())?);
        let users = self.choose_users(world.users());
        let favourites = favourites(&inputs.train, world.users(), self.liked);
        let players = llm.players(&prompt.opening)?;

        let start = Instant::now();
        let bar = cx.bar("decisions", Some((users.len() * world.rules.horizon) as u64), "decisions");
        // Raised when one episode failed: the others stop at their next decision.
        let failed = AtomicBool::new(false);
        let table = Table {
            world,
            rankings: &inputs.rankings,
            prompt: &prompt,
            desk: &desk,
            candidates: self.candidates,
            go_on: &|| cx.go_on().map(|()| !failed.load(Ordering::Relaxed)),
            decided: &|| move_on(&bar, &desk, start),
        };
        let play = |&user: &u32| -> Result<Option<Played>> {
            let played = table.play(user, &favourites[user as usize], &mut *players());
            match &played {
                // The bar counts to the horizon; what an early end saved is done too.
                Ok(Some(played)) => bar.inc((world.rules.horizon - played.trajectory.steps.len()) as u64),
                Ok(None) => {}
                Err(_) => failed.store(true, Ordering::Relaxed),
            }
            played.with_context(|| format!("the episode of user {user}"))
        };
        let all = || users.par_iter().with_max_len(1).map(play).collect::<Vec<_>>();
        let results = match llm.at_once() {
            None => all(),
            Some(players) => rayon::ThreadPoolBuilder::new().num_threads(players).build()?.install(all),
        };
        let played: Vec<Played> = results.into_iter().filter_map(Result::transpose).collect::<Result<_>>()?;
        tell(&played, &desk, start, cx);
        readable(&played)?;
        let trajectories = played.iter().map(|played| played.trajectory.clone()).collect();
        Ok(Outputs { demonstrations: Demonstrations { trajectories }, calls: in_order_of_use(&played) })
    }

    /// Whether the inputs speak of the same users and items.
    fn compare(&self, inputs: &Inputs) -> Result<()> {
        let (users, items) = (inputs.world.users(), inputs.world.items());
        ensure!(inputs.items.len() == items, "the catalogue has {} items, the world {items}", inputs.items.len());
        let rankings = &inputs.rankings.items;
        ensure!(rankings.len() == users, "the rankings are of {} users, the world has {users}", rankings.len());
        let known = rankings.iter().flatten().all(|&item| (item as usize) < items);
        ensure!(known, "the rankings hold an item that is not among the world's {items}");
        let train = &inputs.train;
        ensure!(!train.is_empty(), "the training log is empty");
        let known = train.user.iter().all(|&user| (user as usize) < users)
            && train.item.iter().all(|&item| (item as usize) < items);
        ensure!(
            known,
            "the training log holds a user or an item that the world of {users} users and {items} items does not"
        );
        ensure!(self.users <= users, "{} users asked for, the world has {users}. help: lower `users`", self.users);
        Ok(())
    }

    /// The first of a shuffle, ascending.
    fn choose_users(&self, users: usize) -> Vec<u32> {
        let mut order: Vec<u32> = (0..users as u32).collect();
        order.shuffle(&mut rng(&[self.seed, 0xde30]));
        order.truncate(self.users);
        order.sort_unstable();
        order
    }
}

/// For each user the `count` items rated best; of equals the latest, then the lowest id.
fn favourites(train: &Interactions, users: usize, count: usize) -> Vec<Vec<u32>> {
    let mut rows: Vec<Vec<usize>> = vec![Vec::new(); users];
    for (row, &user) in train.user.iter().enumerate() {
        rows[user as usize].push(row);
    }
    let best = |rows: &mut Vec<usize>| {
        rows.sort_by(|&a, &b| {
            let rest = |row: usize| (Reverse(train.timestamp[row]), train.item[row]);
            train.rating[b].total_cmp(&train.rating[a]).then_with(|| rest(a).cmp(&rest(b)))
        });
        let mut items: Vec<u32> = Vec::new();
        for &row in &*rows {
            // A log may hold a pair twice.
            if items.len() < count && !items.contains(&train.item[row]) {
                items.push(train.item[row]);
            }
        }
        items
    };
    rows.iter_mut().map(best).collect()
}

/// Moves the bar by one decision.
fn move_on(bar: &Bar, desk: &Desk, start: Instant) {
    let tokens = desk.tally().tokens;
    if tokens == 0 {
        bar.inc(1);
    } else {
        bar.inc_with(1, &format!("{:.0} tokens/s", tokens as f64 / start.elapsed().as_secs_f64()));
    }
}

fn tell(played: &[Played], desk: &Desk, start: Instant, cx: &Context) {
    let steps = || played.iter().flat_map(|played| &played.trajectory.steps);
    let decisions = steps().count();
    let (tally, seconds) = (desk.tally(), start.elapsed().as_secs_f64());
    cx.note("decisions", format!("{decisions} in {} episodes", played.len()));
    cx.note("calls", format!("{} asked, {} served from the store", tally.asked, tally.served));
    if tally.asked > 0 {
        cx.note("tokens", format!("{} new, {:.0} a second", tally.tokens, tally.tokens as f64 / seconds));
    }
    let first = steps().filter(|step| step.candidates.first() == Some(&step.item)).count();
    cx.note("retriever's first choice taken", format!("{:.0} %", 100.0 * first as f64 / decisions.max(1) as f64));
    let unread: usize = played.iter().filter_map(|played| played.unread.as_ref()).map(|(_, count)| count).sum();
    if unread > 0 {
        cx.note("answers without a choice", format!("{unread}; the retriever's first choice stands in for them"));
    }
}

/// A model whose answers mostly name no candidate demonstrates nothing.
fn readable(played: &[Played]) -> Result<()> {
    let decisions: usize = played.iter().map(|played| played.trajectory.steps.len()).sum();
    let mut unread = played.iter().filter_map(|played| played.unread.as_ref());
    let Some((example, first)) = unread.next() else { return Ok(()) };
    let count = first + unread.map(|(_, count)| count).sum::<usize>();
    ensure!(
        2 * count <= decisions,
        "{count} of {decisions} answers name no candidate, the first of them is: {}. help: use a larger model, or let it \
         write more tokens",
        example.answer
    );
    Ok(())
}

fn in_order_of_use(played: &[Played]) -> Calls {
    let mut seen = BTreeSet::new();
    let used = played.iter().flat_map(|played| &played.calls);
    let distinct = used.filter(|call| seen.insert(&call.key));
    Calls(distinct.map(|call: &Arc<Call>| Call::clone(call)).collect())
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::AtomicI64;

    use anyhow::bail;
    use pipeline::{Artifact as _, Interrupted};

    use super::*;
    use crate::artifact::Rules;
    use crate::env::cluster_world;
    use crate::llm::gguf::toy;
    use crate::llm::{Answer, GgufConfig, Player, Players, Reading, Request, Score};

    const USERS: usize = 5;
    const ITEMS: usize = 12;

    /// Four clusters of three items, a window of two, eight turns.
    fn inputs() -> Inputs {
        let world = cluster_world(&[5.0, 4.0, 3.0, 2.0], 3, 2, 8, USERS);
        let items = Items {
            id: (0..ITEMS).map(|item| item.to_string()).collect(),
            title: (0..ITEMS).map(|item| format!("The {}", "over inner thin".repeat(1 + item % 3))).collect(),
            year: (0..ITEMS).map(|item| Some(1990 + item as i32)).collect(),
            genres: vec![vec![]; ITEMS],
        };
        let train = Interactions {
            user: vec![0, 0, 0, 1, 2, 2],
            item: vec![1, 5, 9, 3, 0, 11],
            rating: vec![3.0, 5.0, 4.0, 2.0, 5.0, 5.0],
            timestamp: vec![1, 2, 3, 4, 5, 5],
        };
        let ranking = |user: usize| (0..ITEMS).map(|rank| ((rank * 5 + user) % ITEMS) as u32).collect();
        let rankings = Rankings {
            items: (0..USERS).map(ranking).collect(),
            scores: vec![vec![0.0; ITEMS]; USERS],
            avoid_alike: false,
        };
        Inputs { world, items, train, rankings }
    }

    fn stage() -> Demonstrate {
        let llm = LlmConfig::Gguf(GgufConfig { asset: AssetName("toy".into()), score: Score::Pmi });
        Demonstrate {
            llm,
            users: 4,
            seed: 1,
            candidates: 4,
            liked: 2,
            remember: 2,
            noun: "thing".into(),
            instructions: None,
        }
    }

    /// A model that stops the run at its `left`-th question, or never where that is negative.
    struct Breaking<'a> {
        inner: &'a dyn Llm,
        left: AtomicI64,
    }

    struct BreakingPlayer<'a>(Box<dyn Player + 'a>, &'a AtomicI64);

    impl Llm for Breaking<'_> {
        fn identity(&self) -> String {
            self.inner.identity()
        }
        fn at_once(&self) -> Option<usize> {
            None
        }
        fn players<'a>(&'a self, opening: &str) -> Result<Players<'a>> {
            let players = self.inner.players(opening)?;
            Ok(Box::new(move || Box::new(BreakingPlayer(players(), &self.left))))
        }
        fn references(&self, request: &Request) -> Vec<Request> {
            self.inner.references(request)
        }
        fn read(&self, request: &Request, answer: &str, references: &[String]) -> Result<Reading> {
            self.inner.read(request, answer, references)
        }
    }

    impl Player for BreakingPlayer<'_> {
        fn ask(&mut self, request: &Request) -> Result<Answer> {
            if self.1.fetch_sub(1, Ordering::Relaxed) == 0 {
                return Err(Interrupted.into());
            }
            self.0.ask(request)
        }
    }

    /// Plays in `folder` until the `stop`-th question; the bytes of the artifacts.
    fn played(folder: &Path, threads: usize, stop: i64) -> Result<[Vec<u8>; 2]> {
        let model = folder.join("toy.gguf");
        toy::write_toy(&model)?;
        let mut cx = Context::detached(folder);
        cx.add_asset("toy", &model);
        let llm = stage().llm.open(&cx)?;
        let llm = Breaking { inner: &*llm, left: AtomicI64::new(stop) };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
        let outputs = pool.install(|| stage().demonstrate(&llm, &inputs(), &cx))?;
        let (demonstrations, calls) = (tempfile::tempdir()?, tempfile::tempdir()?);
        outputs.demonstrations.write(&demonstrations.path().join("file"))?;
        outputs.calls.write(&calls.path().join("file"))?;
        Ok([std::fs::read(demonstrations.path().join("file"))?, std::fs::read(calls.path().join("file"))?])
    }

    #[test]
    fn equal_bytes_on_any_thread_count_and_after_a_stop_at_any_call() {
        let whole = tempfile::tempdir().unwrap();
        let expected = played(whole.path(), 1, -1).unwrap();
        assert_eq!(played(whole.path(), 2, 0).unwrap(), expected, "a second run asks nothing");
        let other = tempfile::tempdir().unwrap();
        assert!(played(other.path(), 2, -1).unwrap() == expected, "two threads");
        for (threads, stop) in [(1, 0), (1, 1), (1, 9), (1, 17), (2, 3), (2, 12), (2, 20)] {
            let folder = tempfile::tempdir().unwrap();
            let stopped = played(folder.path(), threads, stop).unwrap_err();
            assert!(stopped.is::<Interrupted>(), "{stopped:#}");
            assert!(played(folder.path(), 3 - threads, -1).unwrap() == expected, "stopped at call {stop}");
        }
    }

    #[test]
    fn what_comes_out_tells_the_whole_story() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("toy.gguf");
        toy::write_toy(&model).unwrap();
        let mut cx = Context::detached(folder.path());
        cx.add_asset("toy", &model);
        assert_eq!(stage().assets(), [AssetName("toy".into())]);
        let Outputs { demonstrations, calls } = stage().run(inputs(), &cx).unwrap();
        let users: Vec<u32> = demonstrations.trajectories.iter().map(|trajectory| trajectory.user).collect();
        assert!(users.len() == 4 && users.is_sorted());
        let keys: BTreeSet<&String> = calls.0.iter().map(|call| &call.key).collect();
        assert_eq!(keys.len(), calls.0.len(), "each call once");
        for trajectory in &demonstrations.trajectories {
            let ranking = &inputs().rankings.items[trajectory.user as usize];
            let mut shown: Vec<u32> = Vec::new();
            for step in &trajectory.steps {
                let offered: Vec<u32> = ranking.iter().copied().filter(|item| !shown.contains(item)).take(4).collect();
                assert_eq!(step.candidates, offered);
                let best = step.scores.iter().copied().fold(f32::MIN, f32::max);
                let chosen = offered.iter().position(|&item| item == step.item).unwrap();
                assert!(step.scores.len() == 4 && step.scores[chosen] == best);
                let call = calls.0.iter().find(|call| call.key == step.call).unwrap();
                let request: Request = serde_json::from_str(&call.request).unwrap();
                assert_eq!(request.key(&call.model), call.key, "the key is that of what stands there");
                assert!(request.context.len() <= 2 + 3 && request.options.len() == 4);
                shown.push(step.item);
            }
        }
    }

    /// A model that names its first option on every `every`-th question and else says nothing.
    struct Mumbling {
        every: usize,
    }

    impl Llm for Mumbling {
        fn identity(&self) -> String {
            format!("mumbling {}", self.every)
        }
        fn at_once(&self) -> Option<usize> {
            Some(2)
        }
        fn players<'a>(&'a self, _: &str) -> Result<Players<'a>> {
            Ok(Box::new(|| Box::new(MumblingPlayer { every: self.every, asked: 0 })))
        }
        fn references(&self, _: &Request) -> Vec<Request> {
            vec![]
        }
        fn read(&self, _: &Request, answer: &str, _: &[String]) -> Result<Reading> {
            Ok(Reading { index: answer.parse().ok(), scores: vec![] })
        }
    }

    struct MumblingPlayer {
        every: usize,
        asked: usize,
    }

    impl Player for MumblingPlayer {
        fn ask(&mut self, _: &Request) -> Result<Answer> {
            self.asked += 1;
            let text = if self.asked.is_multiple_of(self.every) { "1" } else { "hm" };
            Ok(Answer { text: text.into(), tokens: 1 })
        }
    }

    #[test]
    fn silence_falls_back_on_the_retriever_until_it_is_too_much() {
        let mut inputs = inputs();
        inputs.world.rules = Rules { similar_below: None, ..inputs.world.rules };
        let folder = tempfile::tempdir().unwrap();
        let play = |every| stage().demonstrate(&Mumbling { every }, &inputs, &Context::detached(folder.path()));
        let demonstrations = play(2).unwrap().demonstrations;
        for (_, step, choice) in demonstrations.steps() {
            assert_eq!(choice.item, choice.candidates[step % 2]);
        }
        let error = play(3).err().unwrap().to_string();
        assert!(error.starts_with("24 of 32 answers name no candidate, the first of them is: hm."), "{error}");
    }

    /// A model that refuses one user's questions.
    struct Refusing;

    impl Llm for Refusing {
        fn identity(&self) -> String {
            "refusing".into()
        }
        fn at_once(&self) -> Option<usize> {
            None
        }
        fn players<'a>(&'a self, _: &str) -> Result<Players<'a>> {
            Ok(Box::new(|| Box::new(Refusing)))
        }
        fn references(&self, _: &Request) -> Vec<Request> {
            vec![]
        }
        fn read(&self, _: &Request, _: &str, _: &[String]) -> Result<Reading> {
            Ok(Reading { index: Some(0), scores: vec![] })
        }
    }

    impl Player for Refusing {
        fn ask(&mut self, request: &Request) -> Result<Answer> {
            if request.options[0].ends_with("(1992)") {
                bail!("no");
            }
            Ok(Answer { text: "0".into(), tokens: 0 })
        }
    }

    #[test]
    fn an_error_names_the_user() {
        let folder = tempfile::tempdir().unwrap();
        let error = stage().demonstrate(&Refusing, &inputs(), &Context::detached(folder.path())).err().unwrap();
        assert!(format!("{error:#}").starts_with("the episode of user ") && format!("{error:#}").ends_with(": no"));
    }

    #[test]
    fn inputs_that_do_not_belong_together_are_refused() {
        let refused = |spoil: fn(&mut Inputs, &mut Demonstrate), message: &str| {
            let (mut inputs, mut stage) = (inputs(), stage());
            spoil(&mut inputs, &mut stage);
            let error = stage.compare(&inputs).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        };
        refused(|inputs, _| inputs.items.id.truncate(3), "the catalogue has 3 items, the world 12");
        refused(|inputs, _| inputs.rankings.items.truncate(3), "the rankings are of 3 users, the world has 5");
        refused(|inputs, _| inputs.rankings.items[0][0] = 12, "the rankings hold an item");
        refused(|inputs, _| inputs.train.user[0] = 5, "the training log holds a user or an item");
        refused(|inputs, _| inputs.train = Interactions::default(), "the training log is empty");
        refused(|_, stage| stage.users = 6, "help: lower `users`");
    }

    #[test]
    fn more_users_keep_the_fewer() {
        let few = stage().choose_users(100);
        let more = Demonstrate { users: 20, ..stage() }.choose_users(100);
        assert!(few.len() == 4 && more.len() == 20 && few.iter().all(|user| more.contains(user)));
        assert_ne!(few, Demonstrate { seed: 2, ..stage() }.choose_users(100));
    }

    #[test]
    fn favourites_are_the_best_rated_then_the_latest() {
        let mut train = inputs().train;
        assert_eq!(favourites(&train, 4, 2), [vec![5, 9], vec![3], vec![0, 11], vec![]]);
        train.timestamp[5] = 6;
        assert_eq!(favourites(&train, 3, 2)[2], [11, 0]);
    }
}
