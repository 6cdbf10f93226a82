//! "How to read this": terms, and what each row and measure of this very table stands for.
//!
//! Where a term is first used on the page, it is linked to what stands here; see [`link`](super::link).

use super::row::{Role, Row};
use crate::artifact::WITHOUT_REPEATS;

/// A word of the page with its meaning.
#[derive(Debug, PartialEq)]
pub(super) struct Term {
    /// What the page's address of it ends with.
    pub id: &'static str,
    /// Its heading.
    pub term: &'static str,
    /// How it is written in sentences; the first of them on the page leads here.
    pub words: &'static [&'static str],
    pub text: &'static str,
}

const fn term(id: &'static str, term: &'static str, words: &'static [&'static str], text: &'static str) -> Term {
    Term { id, term, words, text }
}

/// Terms that every report needs, what is asked first before the rest.
pub(super) const TERMS: &[Term] = &[
    term(
        "return",
        "Return",
        &["return", "returns"],
        "The sum of rewards over one episode. Inclusive counts the step at which the user leaves, exclusive only the steps \
         after which the user stayed; both are in use in the literature, so both are printed. Verdict and pictures use the \
         inclusive one.",
    ),
    term(
        "episode",
        "Episode, step and horizon",
        &["episode", "episodes", "horizon"],
        "One session of one simulated user: a policy shows one item a step (turn), the user rewards it and stays or leaves. The \
         horizon is the number of steps after which every episode is cut.",
    ),
    term(
        "judge",
        "Judge, or judging world",
        &["judge", "judging world", "judging"],
        "The simulated audience that every row is evaluated in (evaluation world): what each user would rate each item, and the \
         rules by which users leave. No policy may have learned from it. All returns on this page are what it pays, not what \
         people paid.",
    ),
    term(
        "training-world",
        "Training world",
        &["training world", "training worlds"],
        "The simulated audience that policies learned in, fitted on the training part of the log. What it promises and the judge \
         does not pay is its error.",
    ),
    term(
        "quit-rule",
        "Quit rule, and conflict",
        &["quit rule", "quit rules", "conflict", "conflicts", "non-conflicting"],
        "When a user leaves: at an item too similar to a recent one, at a bad one, or at one of a category shown too often. An \
         item conflicts if showing it now would make the user leave; non-conflicting (quit-aware) rows avoid those.",
    ),
    term(
        "distances",
        "Item distances",
        &["item distances", "distances"],
        "How far any two items are from each other in a world. The rule of similarity goes by them, so who knows them knows \
         when people leave.",
    ),
    term(
        "privileged",
        "Privileged",
        &["privileged"],
        "Knows of the judge what no deployed policy could: its item distances, so when people leave, or its rewards, so what they \
         like. Such a row is a yardstick, not a contender.",
    ),
    term(
        "control",
        "Control",
        &["control", "controls"],
        "A row that the evaluation adds by itself (baseline), so that a table cannot make a policy look good for want of company.",
    ),
    term(
        "learned",
        "Learned and untrained policies",
        &["learned policy", "learned policies", "untrained", "untrained policies"],
        "A learned policy was changed by training; it stands for the training seeds of its row. One whose parameters are still \
         those that it began with is untrained: it shows what the initialisation alone is worth, and is never counted among the \
         learned.",
    ),
    term(
        "teacher",
        "Teacher, and demonstrations",
        &["teacher", "teachers", "language model", "language models", "demonstrations"],
        "The language model that recommended by itself; what it did are the demonstrations that policies may imitate.",
    ),
    term(
        "retriever",
        "Retriever, candidates, offers",
        &["retriever", "candidates", "offers"],
        "The retriever ranks the catalogue for each user by the training log. The language model chooses among the first of that \
         list, its candidates (offers).",
    ),
    term(
        "each",
        "Reward per step and length",
        &["reward per step", "length"],
        "Their product is the return, exactly: reward per step is the sum of all rewards over the sum of all lengths. Two \
         policies with one return can differ here: one pleases more, the other keeps people longer.",
    ),
    term(
        "ends",
        "How episodes end",
        &["episodes end by"],
        "“horizon”: the episode lasted for all its steps. “too similar”: an item was too near to a recent one and the user left \
         before. “low reward”: a bad item, and the user left. “too much of a category”: one category filled too many of the last \
         turns, and the user left. “left, no reason known”: of episodes that were played elsewhere. At the very last step nothing \
         is lost by leaving, so planners end on whatever pays most; that counts as “horizon” here, while `end_…` in the file of \
         metrics names the rule.",
    ),
    term(
        "coverage",
        "Coverage and distinct items",
        &["coverage", "distinct items"],
        "Coverage is the share of the catalogue that was recommended at least once; distinct is the mean number of different \
         items in one episode.",
    ),
    term(
        "interval",
        "95 % interval",
        &["95 % interval", "95 % intervals", "interval", "intervals"],
        "In brackets: where the mean may lie, given how much seeds and users vary (percentile bootstrap). Intervals that lie \
         apart speak for a real difference; overlapping ones leave it open, and are not a proof that there is none. Where nothing \
         varies, only the mean is printed.",
    ),
    term(
        "same-users",
        "Same users; judged together",
        &["same users", "judged together"],
        "A difference on the same users is taken user by user, so that what sets users apart does not blur it. A difference is \
         called real where it holds with all of them judged together: among a hundred pairs that are alike, five intervals of \
         95 % leave out zero by chance (Holm’s correction). The chance to be better is the share of pairs of their runs with one \
         user that the row wins, ties counted half (probability of improvement).",
    ),
    term(
        "seeds",
        "Seeds",
        &["seed", "seeds", "training seeds"],
        "One training run is one draw of a lottery: the same algorithm with another seed often differs by more than two \
         algorithms do. Five seeds are the least that lets the interval speak about the algorithm instead of about one run.",
    ),
];

/// What a row does, for the names that an evaluation gives; other rows speak through their remark.
pub(super) fn meaning(row: &Row) -> Option<&'static str> {
    Some(match (row.role, row.name.as_str()) {
        (Role::Teacher, _) => "The language model that was imitated, playing by itself in the judging world.",
        (Role::Untrained, _) => {
            "A policy before any training: what its initialisation returns. It has learned nothing; what a trained one is above \
             it was learned."
        }
        (Role::Learned, name) if name.ends_with(WITHOUT_REPEATS) => {
            "The policies of the row above, where nothing is shown twice in an episode: as `recommend --exclude-history` serves \
             them."
        }
        (_, "random") => "Draws any item. Whoever is near this row has learned nothing.",
        (_, "random non-conflicting") => {
            "Draws among the items that conflict with no quit rule (too near to a recent one, too much of a category): what \
             avoiding those is worth without taste."
        }
        (_, "popular non-conflicting") => {
            "The items with the best mean rating in the training log, skipping those that conflict with a quit rule. Not \
             personal; the bar that a learned policy must pass to be worth its training."
        }
        (_, "popular cycle") => {
            "Shows a few popular items in turn, one more than people remember, whether they are alike or not: what variety \
             without any taste is worth."
        }
        (_, "constant-reward learner") => {
            "An actor-critic with its default settings and a reward of 1 for every step: what learning to keep people alone \
             gives. A policy that is not above it shows no more than survival."
        }
        (_, "greedy oracle") => {
            "Takes, for each user, the item with the highest judging reward that does not conflict. It sees the answers, so it \
             marks the upper end; it does not plan ahead, so it is not a proven maximum."
        }
        (_, "best plan") => {
            "Sees the judging rewards and plans whole episodes (planning oracle). Its remark says with how many users it is \
             proven that nobody can return more: the upper end of the table."
        }
        (_, name) if name.starts_with("plan of ") => {
            "Shows the best that a fitted world knows, by its own lights, without any learning. What it lacks to the best plan is \
             lost by that world alone."
        }
        (_, "retriever alone") => {
            "Takes the first of the candidates that the language model is offered. What the language model adds shows against \
             this row only."
        }
        (_, "bc" | "behaviour cloning") => {
            "Behaviour cloning: imitates the demonstrations step by step, without any reward."
        }
        _ => return None,
    })
}

/// What a measure beyond the table's own columns is.
pub(super) fn measure(name: &str) -> Option<&'static str> {
    Some(match name {
        "coverage_per_step" => "Different items over all episodes of a seed, per step.",
        "diversity" => "Mean of 1 − 1/(1 + distance) over the pairs of an episode’s items: 0 where all are alike.",
        "gap" => "What the training world would have paid for the same episodes, less what the judge paid.",
        "length_exclusive" => "Steps after which the user stayed.",
        "novelty" => {
            "Mean −ln of the item’s share of the training log: 0 for one that everybody has, more for rare ones."
        }
        "over_popular" => "Return less that of popular non-conflicting, user by user.",
        "over_retriever" => "Return less that of the retriever alone, user by user.",
        "over_teacher" => "Return less that of the best language model, with its users and over its steps.",
        "repeat_rate" => "Share of an episode’s steps that show an item again.",
        "return_bound" => "What no policy can exceed in the judging world.",
        "return_iqm" => {
            "Interquartile mean: the mean return without the lowest and the highest quarter of all users and seeds."
        }
        "return_teacher_users" => "Return with the users and over the steps that all language models were given.",
        "return_training" => "What the training world would have paid for the same items.",
        "reward_each_exclusive" => "Reward per step without the steps at which users left.",
        "top_category" => "Share of an episode’s steps in its most frequent category.",
        "untrained" => "Share of the row’s policies that still have the parameters they began with.",
        "world_correlation" => {
            "How a planned world’s rewards and the judge’s rise together over a user’s items (Pearson’s r)."
        }
        "world_rmse" => "How far a planned world’s rewards are from the judge’s (root mean square over all pairs).",
        "calls" => "Requests to the language model in one episode.",
        "tokens_read" => "Tokens of the prompts in one episode.",
        "tokens_written" => "Tokens that the language model wrote in one episode.",
        _ => return None,
    })
}

/// What a series of a learning curve is, whichever member of an ensemble it is of.
pub(super) fn series(name: &str) -> Option<&'static str> {
    let name = name.split_once(".member").map_or(name, |(name, _)| name);
    Some(match name {
        "return" => {
            "Mean return of the episodes that were played for the update, in the unit that training was paid in."
        }
        "length" => "Their mean length.",
        "entropy" => {
            "How undecided the policy is (nats): 0 where it always shows one item, ln of the catalogue where it draws any."
        }
        "value_error" => {
            "Mean squared error of the critic’s values against what came, or were to come by its own target."
        }
        "distribution_loss" => "Cross-entropy of the predicted distribution of returns.",
        "conservative_loss" => "How much higher actions that nobody took are valued than those in the log.",
        "imitation_loss" | "imitation" => "Mean −ln of the probability that the policy gives to what was demonstrated.",
        "mean_weight" => "Mean weight of a demonstrated step in the loss.",
        "heaviest_weight" => "Largest weight of a demonstrated step.",
        "demonstrated_share" => "Share of the steps of an update that were demonstrated.",
        "gradient_steps" => "Steps of the optimiser in one round; fewer where it stopped early.",
        "discriminator_loss" => {
            "Cross-entropy of telling demonstrated steps from the policy’s; ln 2 = 0.69 where it cannot."
        }
        "accuracy" => "Share of steps that the discriminator tells right; 0.5 is chance.",
        "demonstrated_reward" => "Mean learned reward of demonstrated steps.",
        "generated_reward" => "Mean learned reward of the generating policy’s steps.",
        "generator_return" => "Mean return of the policy that the discriminator is played against.",
        "generator_length" => "Mean length of its episodes.",
        "reward_scale" => "What the learned reward is divided by.",
        "rmse.train" => "Root mean squared error on the ratings that are fitted, over an epoch.",
        "rmse.holdout" => "The same on ratings that were held out.",
        "nll.holdout" => "Mean negative log-likelihood of held-out ratings (nats).",
        "rmse.holdout.world" | "mae.holdout.world" | "nll.holdout.world" | "rmse.holdout.world.ips" => {
            "The error of what the world pays, the mean of all its models, on held-out ratings."
        }
        _ => return None,
    })
}
