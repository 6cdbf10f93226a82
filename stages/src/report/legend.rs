//! "How to read this": terms, and what each row of this very table stands for.

use super::row::{Role, Row};

/// Terms that every report needs.
pub(super) const TERMS: &[(&str, &str)] = &[
    (
        "Return",
        "The sum of rewards over one episode. Inclusive counts the step at which the user leaves, exclusive only the steps \
         after which the user stayed; both are in use in the literature, so both are printed. Verdict and pictures use the \
         inclusive one.",
    ),
    (
        "Reward per step and length",
        "Their product is the return, exactly: reward per step is the sum of all rewards over the sum of all lengths. Two \
         policies with one return can differ here: one pleases more, the other keeps people longer.",
    ),
    (
        "How episodes end",
        "“too similar”: an item was too near to a recent one and the user left. “low reward”: a bad item, and the user left. \
         “too much of a category”: one category filled too many of the last turns, and the user left. “left, no reason \
         known”: of episodes that were played elsewhere. “horizon”: the user would have stayed; the evaluation cut the episode.",
    ),
    (
        "Coverage and distinct items",
        "Coverage is the share of the catalogue that was recommended at least once; distinct is the mean number of different \
         items in one episode.",
    ),
    (
        "95 % interval",
        "Where the mean may lie, given how much seeds and episodes vary. Intervals that lie apart speak for a real \
         difference; overlapping ones leave it open, and are not a proof that there is none. Where nothing varies, only the \
         mean is printed.",
    ),
    (
        "Seeds",
        "One training run is one draw of a lottery: the same algorithm with another seed often differs by more than two \
         algorithms do. Five seeds are the least that lets the interval speak about the algorithm instead of about one run.",
    ),
];

/// What a row does, for the names that an evaluation gives; other rows speak through their remark.
pub(super) fn meaning(row: &Row) -> Option<&'static str> {
    Some(match (row.role, row.name.as_str()) {
        (Role::Teacher, _) => "The language model that was imitated, playing by itself in the judging world.",
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
            "Sees the judging rewards and plans whole episodes. Its remark says with how many users it is proven that nobody can \
             return more: the upper end of the table."
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
